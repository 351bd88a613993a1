"""Large values and attachments of a session that leaves the store under rules.

A large value is looked at like any other. An attachment that is text is written as the rules leave it; of another
one nobody knows what is in it, so a mark stands in its place, unless the rules look at nothing but names and paths.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentstream.sessions import codec
from agentstream.sessions.items import map_dict, map_list
from agentstream.sessions.large import LIMIT, formed
from agentstream.sessions.references import ATTACHMENT, BLOB, BYTES, ENCODINGS, JSON, MARK, TEXT, Ref, ref_in, refs_of
from agentstream.sessions.secrets import Hidden

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.blobs import Blobs
    from agentstream.sessions.events import Event
    from agentstream.sessions.redaction import Rules

LONGEST = 64 * 1024 * 1024
"""Bytes of an attachment beyond which it is not looked at, and left out."""


class Content:
    """The large content of one session. `written`: what is referred to from what was written, by its SHA-256."""

    def __init__(self, blobs: Blobs, rules: Rules, *, inline: bool = False) -> None:
        """`inline`: large values stand where they are referred to."""
        self._inline = inline
        self.written: dict[str, bytes] = {}
        self._blobs, self._rules = blobs, rules
        self._bytes: dict[str, bytes] = {}
        self._attached: dict[Ref, Any] = {}
        self._hashes: dict[str, str] = {}
        """Of attachments that are written otherwise than they were, their SHA-256 then."""
        redact = rules.redact
        self._blind = not redact.patterns and redact.rule is None

    def read(self, events: Iterable[Event]) -> Steps[None]:
        """Reads all that the events refer to. Raises BlobLost, which names session and event."""
        from agentstream.errors import BlobLost
        from agentstream.sessions.large import named

        for event in events:
            for ref in refs_of(codec.loads(event.raw)) if MARK in event.raw else ():
                try:
                    yield from self._read(ref)
                except BlobLost as error:
                    raise named(error, event) from error

    def _read(self, ref: Ref) -> Steps[None]:
        attached = ref.encoding == ATTACHMENT
        if ref.sha256 not in self._bytes and not (attached and ref.size > LONGEST and not self._blind):
            self._bytes[ref.sha256] = yield from self._blobs.content(ref)
        if attached:
            self._attached[ref] = self._looked(ref)

    def _looked(self, ref: Ref) -> Any:
        """An attachment as it is to be written; itself where nothing is taken out."""
        name = self._rules.text(ref.name) if ref.name is not None else None
        made = replace(ref, at=None, name=name)
        content = self._bytes.get(ref.sha256)
        if self._blind:
            return {BLOB: made.stored()}
        try:
            text = content.decode() if content is not None and b"\0" not in content else None
        except UnicodeDecodeError:
            text = None
        if text is None:
            return Hidden("attachment", {BLOB: replace(ref, at=None).stored()})
        told = self._rules.text(text).encode()
        if told == content and name == ref.name:
            return {BLOB: made.stored()}
        digest = sha256(told).hexdigest()
        self._bytes[digest] = told
        self._hashes[ref.sha256] = digest
        stored = {BLOB: replace(made, sha256=digest, size=len(told)).stored()}
        return Hidden("attachment", {BLOB: replace(ref, at=None).stored()}, stored, stored)

    def attaching(self, marked: Any) -> Any:
        """The input of a step that attaches something: it holds the hash of what is written otherwise now."""
        digest = marked.get("sha256") if type(marked) is dict else None
        if type(digest) is not str or digest not in self._hashes:
            return marked
        now = self._hashes[digest]
        return {**marked, "sha256": Hidden("attachment", digest, now, now)}

    # --- in the place of references ----------------------------------------------------------------------------------

    def is_large(self, data: Any) -> bool:
        return type(data) is dict and ref_in(data) is not None

    def put_in(self, data: Any) -> Any:
        """A stored form with the content of large values in their place, and attachments as they are to be written."""
        if type(data) is dict:
            ref = ref_in(data)
            if ref is None:
                return map_dict(data, self.put_in)
            if ref.encoding == ATTACHMENT:
                return self._attached.get(ref, data)
            return self.put_in(formed(ref, self._bytes[ref.sha256]))
        return map_list(data, self.put_in) if type(data) is list else data

    def put_in_written(self, data: Any) -> Any:
        """The same of what was written already."""
        if type(data) is dict:
            ref = ref_in(data)
            if ref is None:
                return map_dict(data, self.put_in_written)
            return data if ref.encoding == ATTACHMENT else self.put_in_written(formed(ref, self._bytes[ref.sha256]))
        return map_list(data, self.put_in_written) if type(data) is list else data

    # --- and out again -----------------------------------------------------------------------------------------------

    def keep(self, stored: Any, after: Any) -> Any:
        """What is written for a part that is `after` now: a reference, where `stored` was one and it is still large."""
        self._rely(after)
        ref = ref_in(stored)
        if ref is None or ref.encoding == ATTACHMENT:
            return after
        text = b"" if self._inline else codec.dumps(after)
        if len(text) <= LIMIT:
            return after
        if type(after) is str:
            return self._kept(TEXT, after.encode(), ())
        if type(after) is dict and len(after) == 1 and type(after.get("$bytes")) is str:
            return self._kept(BYTES, b64decode(after["$bytes"]), ())
        return self._kept(JSON, text, tuple({BLOB: each.stored()} for each in refs_of(after)))

    def _kept(self, encoding: str, content: bytes, holds: tuple[Any, ...]) -> dict[str, Any]:
        digest = sha256(content).hexdigest()
        self._bytes[digest] = self.written[digest] = content
        return {BLOB: Ref(digest, len(content), ENCODINGS[encoding], encoding, None, holds).stored()}

    def _rely(self, data: Any) -> None:
        """What a written part refers to is written too."""
        for ref in refs_of(data):
            self.written[ref.sha256] = self._bytes[ref.sha256]
