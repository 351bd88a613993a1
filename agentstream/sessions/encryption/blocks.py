"""Sealed streams of bytes: blocks as they were appended, each sealed and with its length in front.

The stream's path ends in the id of the key (`~b/<address>.<key id>`). The blocks of one
stream are sealed with a key that comes from its path, so that this one alone can be handed
on. A page of the keeper may end inside a block; the offsets given out here lie between
blocks: the keeper's, and the bytes past it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentstream.protocol.operations import Batch, Read
from agentstream.sessions.encryption import ciphers
from agentstream.sessions.encryption.form import Closed
from agentstream.sessions.encryption.refusals import refusal

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.encryption.vault import Known

FOLDERS = ("~snap/", "~b/")
_KEY = re.compile(r"\.([0-9A-Za-z]{16})$", re.ASCII)
HEAD = 4
_PAST = "+"


def key_in(path: str) -> str:
    """The key id that a path ends in, empty where there is none."""
    found = _KEY.search(path) if path.startswith(FOLDERS) else None
    return found.group(1) if found is not None else ""


def salt_of(path: str) -> bytes:
    """From what a stream's own key is derived."""
    return sha256(path.encode()).digest()[: ciphers.SALT]


def seal(body: Iterable[bytes], secret: bytes, path: str) -> tuple[bytes, ...]:
    own = ciphers.derived(secret, salt_of(path))
    sealed = (ciphers.seal(own, block, path.encode()) for block in body if block)
    return tuple(len(text).to_bytes(HEAD, "big") + text for text in sealed)


def read(operation: Read, key: Known, skips: bool) -> Steps[Batch]:
    """One page of whole blocks, opened. Raises Locked, Erased, and StoreError for what is not what was sealed."""
    base, _, past = operation.offset.partition(_PAST)
    skip = int(past) if past.isdecimal() else 0
    asked = replace(operation, offset=base, skip=skip if skips else 0)
    batch: Batch = yield asked
    data = b"".join(batch.messages)[0 if skips else skip :]
    found, used = _blocks(data)
    while used < len(data) and not found and not (batch.up_to_date or batch.closed):
        batch = yield replace(asked, offset=batch.offset, skip=0, wait=None)
        data += b"".join(batch.messages)
        found, used = _blocks(data)
    ended = used == len(data) or batch.up_to_date or batch.closed
    more = used < len(data) and bool(found)
    return replace(
        batch,
        messages=tuple(_open(block, key, operation.path) for block in found),
        offset=f"{base}{_PAST}{skip + used}" if more else batch.offset,
        up_to_date=batch.up_to_date and ended and not more,
        closed=batch.closed and not more,
    )


def _blocks(data: bytes) -> tuple[list[bytes], int]:
    """The whole blocks that `data` begins with, and how many of its bytes they take."""
    found: list[bytes] = []
    at = 0
    while at + HEAD <= len(data):
        end = at + HEAD + int.from_bytes(data[at : at + HEAD], "big")
        if end > len(data):
            break
        found.append(data[at + HEAD : end])
        at = end
    return found, at


def _open(block: bytes, key: Known, path: str) -> bytes:
    own = key.own(salt_of(path))
    try:
        if own is None:
            raise Closed(key.why)
        return ciphers.unseal(own, block, path.encode())
    except (Closed, ciphers.Unopened) as error:
        why = error.why if isinstance(error, Closed) else {"reason": "changed"}
        raise refusal(why, f"stream {path!r}") from None
