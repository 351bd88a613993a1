"""How calls are compared whose secrets were not recorded.

The fingerprint of such a call is `<shape>.<key>.<code>`: the hash of what is recorded of it, the
id of a key, and an HMAC of what is not under that key. Without the key, or under another, the
shapes alone are compared: what was taken out then matches anything, and who compares is told.

Of a call that was redacted when it left its store it is `<shape>.-.<left>`: there is no key, and `left` is that of what
is left of it, its marks as texts: a call that was handed that has the same. What cannot be told any more is `-.-.-`,
and matches anything.
"""

from __future__ import annotations

import hmac
import os
import secrets as chance
import threading
from base64 import urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentstream.sessions import codec
from agentstream.sessions.secrets import MARK, Hidden, in_text, replaced

if TYPE_CHECKING:
    from agentstream.backends.base import Backend

VARIABLE = "AGENTSTREAM_FINGERPRINT_KEY"
FILE = "fingerprint.key"
SIZE = 32


class Handed(str):
    """A fingerprint of a call that was handed marks. `left` is that of the call with their texts; it is compared, and
    never written."""

    __slots__ = ("left",)
    left: str

    def __new__(cls, text: str, left: str) -> Handed:
        made = super().__new__(cls, text)
        made.left = left
        return made


def plain(data: Any) -> str:
    """The fingerprint of a call from which nothing is taken out."""
    text = codec.canonical(data)
    made = codec.fingerprint(data, text)
    return Handed(made, codec.fingerprint(in_text(data))) if MARK in text else made


class Fingerprint(str):
    """A fingerprint of a call that holds secrets. `plain` is that of the whole call, as it was recorded where no rule
    took anything out, `left` that of what is left of it, its marks as texts; they are compared, and never written."""

    __slots__ = ("left", "plain")
    plain: str
    left: str

    def __new__(cls, text: str, plain: str, left: str) -> Fingerprint:
        made = super().__new__(cls, text)
        made.plain, made.left = plain, left
        return made


NO_KEY = "-"
UNKNOWN = "-.-.-"


def leaving(recorded: str, before: Any, shape: Any, after: Any) -> str:
    """The fingerprint of a call from which something is taken out as it leaves its store: `before` and `after` that,
    and the `shape` of it. What was compared by something else than its input cannot be told any more."""
    if not recorded or ("." not in recorded and codec.fingerprint(before) != recorded):
        return recorded and UNKNOWN
    return f"{codec.fingerprint(shape)}.{NO_KEY}.{codec.fingerprint(in_text(after))}"


def shape_of(fingerprint: str) -> str:
    """What of a fingerprint is compared without a key."""
    return _left_of(fingerprint) or fingerprint.partition(".")[0]


def names_of(fingerprint: str) -> tuple[str, ...]:
    """What a recorded fingerprint may be found by."""
    return tuple(dict.fromkeys((shape_of(fingerprint), fingerprint.partition(".")[0])))


def left_of(now: str) -> str:
    """What a call is found by in a session that was redacted when it left its store."""
    return now.left if isinstance(now, (Fingerprint, Handed)) else now


def _left_of(fingerprint: str) -> str | None:
    """The fingerprint of what is left of a call, where something was taken out as it left its store."""
    _, key, code = fingerprint.split(".") if fingerprint.count(".") == 2 else ("", "", NO_KEY)
    return code if key == NO_KEY != code else None


def agree(recorded: str, now: str) -> bool:
    """Whether a call is the recorded one, as far as anybody can know."""
    if recorded == now or recorded == getattr(now, "plain", None) or left_of(now) == _left_of(recorded):
        return True
    return unsure(recorded, now)


def unsure(recorded: str, now: str) -> bool:
    """Whether two fingerprints agree only in what is recorded: they were made under different keys."""
    if recorded == UNKNOWN or (isinstance(now, Fingerprint) and now.left == _left_of(recorded)):
        return True
    shape, _, code = recorded.partition(".")
    other, _, mine = now.partition(".")
    return shape == other and bool(code and mine) and code.partition(".")[0] != mine.partition(".")[0]


class Key:
    """The key of one client's fingerprints; read, or made, when it is first needed.

    From $AGENTSTREAM_FINGERPRINT_KEY, else from the file `fingerprint.key` (mode 0600) in the store's
    folder, made on first use. A store that has no folder gets one for the life of this client.
    """

    def __init__(self, backend: Backend) -> None:
        self._folder = _folder_of(backend)
        self._lock = threading.Lock()
        self._key: bytes | None = None

    def fingerprint(self, marked: Any) -> Fingerprint:
        key = self.bytes
        hidden = sorted(_hidden(marked, ""))
        code = hmac.digest(key, codec.canonical([list(each) for each in hidden]), "sha256")
        shape = codec.fingerprint(replaced(marked, "shape"))
        named = _text(hmac.digest(key, b"agentstream fingerprint key", "sha256"))[:6]
        whole = codec.fingerprint(replaced(marked, "form"))
        left = codec.fingerprint(in_text(replaced(marked, "stored")))
        return Fingerprint(f"{shape}.{named}.{_text(code[:16])}", whole, left)

    @property
    def bytes(self) -> bytes:
        with self._lock:
            if self._key is None:
                said = os.environ.get(VARIABLE)
                self._key = sha256(said.encode()).digest() if said else _of_folder(self._folder)
            return self._key


def _text(code: bytes) -> str:
    return urlsafe_b64encode(code).decode("ascii").rstrip("=")


def _hidden(form: Any, path: str) -> list[tuple[str, str]]:
    """What is hidden in a form: where, and its canonical text."""
    kind = type(form)
    if kind is Hidden:
        return [(path, codec.canonical(replaced(form.form, "form")).decode("utf-8", "surrogatepass"))]
    parts = form.items() if kind is dict else enumerate(form) if kind is list else ()
    return [found for key, part in parts for found in _hidden(part, f"{path}/{key}")]


def _folder_of(backend: Any) -> Path | None:
    """The folder of the store, where it has one; a backend that wraps another has that one's."""
    while backend is not None:
        folder = getattr(backend, "folder", None)
        if isinstance(folder, Path):
            return folder
        backend = getattr(backend, "inner", None)
    return None


def _of_folder(folder: Path | None) -> bytes:
    if folder is None:
        return chance.token_bytes(SIZE)
    file = folder / FILE
    with suppress(OSError):  # a store that can only be read: then nothing is written that would need the key
        key = _read(file) or _made(file)
        if key is not None:
            return key
    return chance.token_bytes(SIZE)


def _read(file: Path) -> bytes | None:
    try:
        key = file.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == SIZE else None


def _made(file: Path) -> bytes | None:
    """A new key, in the file whole or not at all; of two processes that make one at once both get the first's."""
    whole = file.with_name(f".{FILE}.{chance.token_hex(8)}")
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as out:
            out.write(chance.token_bytes(SIZE))
            out.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(whole, file)
    finally:
        whole.unlink()
    return _read(file)
