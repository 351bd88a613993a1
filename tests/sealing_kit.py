"""What the tests of encrypted sessions share: keys, an agent that leaves something secret everywhere, and raw reads."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from agentstream import agent, ask, delta, step
from agentstream.backends.base import Backend
from agentstream.protocol.operations import START, Create, Delete, Read

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
TEXT = b64encode(KEY).decode()
PLANTED = "PLANTED-7f3a"


@step
def look_up(what: str) -> dict[str, Any]:
    delta(f"{PLANTED} delta", kind="text")
    return {"found": f"{PLANTED} result", "of": what}


@step
def fail(what: str) -> None:
    raise ValueError(f"{PLANTED} error of {what}")


@agent
def tell(what: str) -> str:
    """Leaves something secret in every kind of event that a plain loop writes."""
    found = look_up(what)
    try:
        fail(what)
    except ValueError:
        found["of"] = "nothing"
    return found["found"]


@agent
def asker(what: str) -> str:
    return f"{look_up(what)['found']} {ask(f'{PLANTED} question?')}"


def messages(backend: Backend, path: str) -> list[bytes]:
    """What is stored in a stream."""
    found: list[bytes] = []
    offset = START
    while True:
        batch = backend.execute(Read(path, offset))
        found += batch.messages
        if batch.up_to_date or batch.closed:
            return found
        offset = batch.offset


def put(backend: Backend, path: str, changed: list[bytes]) -> None:
    """Puts other messages in the place of a stream's, as somebody who can write the store would."""
    backend.execute(Delete(path))
    backend.execute(Create(path, tuple(changed)))


def key_of(session: Any) -> str:
    """The id of the key that a session is sealed with."""
    births = [event.value for event in session.events() if event.type == "session" and "encrypted" in event.value]
    return births[-1]["encrypted"]


def wrapped(backend: Backend, key: str) -> list[bytes]:
    """The wrapped keys of a session as they stand in the store, as text and as bytes."""
    texts = [json.loads(message)["value"]["wrapped"] for message in messages(backend, f"~k/{key}")]
    return [text.encode() for text in texts] + [b64decode(text) for text in texts]


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every byte of a store on disk, by file."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
