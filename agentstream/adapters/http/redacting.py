"""A response's body without what the client's rules take out (`Client(redact=…)`).

A model's words come in many events, and a secret among them in pieces: what the events say to one place
is looked at as one text. Of an event that is changed only its data is written anew.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentstream.adapters.http.body import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentstream import adapters
    from agentstream.adapters.http.body import Dictionaries

_TOLD_APART_BY = ("type", "item_id", "output_index", "content_index", "summary_index", "index")

Leaf = tuple[Any, Any, Any]
"""Where a text stands: what it is of, the dict or list that holds it, its key there."""


def redacted(call: adapters.StepCall, content_type: str, chunks: list[bytes]) -> list[bytes]:
    """The chunks, or where anything is taken out of them the whole body as one."""
    body = b"".join(chunks)
    if "text/event-stream" in content_type:
        made = _events(call, body)
    elif "json" in content_type:
        made = _json(call, body)
    else:
        made = call.redacted(body)
    made = made if isinstance(made, bytes) else str(made).encode()
    return chunks if made == body else [made]


def _json(call: adapters.StepCall, body: bytes) -> Any:
    try:
        value = json.loads(body)
    except ValueError:
        return call.redacted(body)
    made = call.redacted(value)
    return body if made == value else json.dumps(made, ensure_ascii=False).encode()


def _events(call: adapters.StepCall, body: bytes) -> bytes:
    lines = body.split(b"\n")
    values = {number: value for number, line in enumerate(lines) if (value := _data(line)) is not None}
    before = {number: json.dumps(value) for number, value in values.items()}
    texts: dict[Any, list[Leaf]] = {}
    for value in values.values():
        for leaf in _leaves(value, (), ()):
            texts.setdefault(leaf[0], []).append(leaf)
    for leaves in texts.values():
        _redact_text(call, leaves)
    for number, value in values.items():
        made = json.dumps(call.redacted(value), ensure_ascii=False)
        if json.dumps(json.loads(made)) != before[number]:
            ending = b"\r" if lines[number].endswith(b"\r") else b""
            lines[number] = b"data: " + made.encode() + ending
    for number, line in enumerate(lines):
        if number not in values and line.startswith(b"data:"):
            lines[number] = call.redacted(line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return b"\n".join(lines)


def _data(line: bytes) -> Any:
    if not line.startswith(b"data:"):
        return None
    try:
        value = json.loads(line[5:])
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _leaves(part: Any, path: tuple[str, ...], apart: tuple[Any, ...]) -> Iterator[Leaf]:
    """The texts in an event, each with what tells it from texts of other places."""
    if isinstance(part, dict):
        named = ((name, part[name]) for name in _TOLD_APART_BY if isinstance(part.get(name), (str, int)))
        apart = (*apart, *named)
        items: Any = part.items()
    elif isinstance(part, list):
        items = enumerate(part)
    else:
        return
    for key, item in items:
        below = (*path, key) if isinstance(key, str) else path
        if isinstance(item, str):
            yield (below, apart), part, key
        else:
            yield from _leaves(item, below, apart)


def _redact_text(call: adapters.StepCall, leaves: list[Leaf]) -> None:
    pieces = [held[key] for _, held, key in leaves]
    if len(set(pieces)) < 2:  # an id that each event repeats is no text that grows
        return
    for (_, held, key), piece in zip(leaves, call.redacted_pieces(pieces), strict=True):
        held[key] = piece


def without(value: Any, looked: Any, dictionaries: Dictionaries, content_type: str | None = None) -> Any:
    """A recorded answer (`Recorded.stored`) as it leaves its store: without what the rules find in it.

    `looked` is what an opener is given (`adapters.Opener`); `content_type` is the body's, where no header says it. The
    value itself where nothing is taken out, None for what is no such answer.
    """
    recorded = Recorded.read(value, dictionaries)
    if recorded is None:
        return None
    headers = looked.redacted(recorded.headers)
    chunks = redacted(looked, content_type or recorded.headers.get("content-type", ""), recorded.chunks)
    if chunks == recorded.chunks and headers == recorded.headers:
        return value
    recorded.headers, recorded.chunks = headers, chunks
    known = ("status", "texts", "end", *dictionaries)
    more = {name: looked.redacted(part) for name, part in value.items() if name not in known}
    return {**recorded.stored(dictionaries), **more}
