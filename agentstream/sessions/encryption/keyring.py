"""The user's keys: what `Client(encrypt=…)` takes, and wrapping a session's key with one of them."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Union

from agentstream.errors import AgentStreamError
from agentstream.sessions.encryption import ciphers

VARIABLE = "AGENTSTREAM_KEY"

Key = Union[bytes, str, "os.PathLike[str]", Callable[[], "Key"], Sequence["Key"]]
"""32 bytes, base64 text of them (several, parted by commas or white space), a file of either, what gives one when
called, or several of these: the first wraps new sessions' keys, all of them open old ones."""


class Keyring:
    """The user's keys by id; the first wraps."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {key_id(key): key for key in keys}
        self.first = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def wrap(self, secret: bytes, name: str) -> bytes:
        """A session's key, sealed with the first of the user's, for the session key's own id alone."""
        return ciphers.seal(self._keys[self.first], secret, name.encode())

    def unwrap(self, wrapped: bytes, by: str, name: str) -> bytes | None:
        """The session's key; None where the user's key `by` is not in this ring. Raises ciphers.Unopened."""
        key = self._keys.get(by)
        return None if key is None else ciphers.unseal(key, wrapped, name.encode())


def key_id(key: bytes) -> str:
    """What a user's key is called beside what it wrapped: 64 bits of a hash of it, which say nothing of the key."""
    return sha256(b"agentstream key " + key).hexdigest()[:16]


def keyring(encrypt: Key | bool | None) -> Keyring | None:
    """The ring that `encrypt=` means: None asks `$AGENTSTREAM_KEY`, which may be absent; False is none.

    Raises ValueError or TypeError for what is no key, and AgentStreamError without `cryptography`.
    """
    if encrypt is False:
        return None
    if encrypt is None:
        text = os.environ.get(VARIABLE, "")
        if not text.strip():
            return None
        keys = _in_text(text, f"${VARIABLE}")
    else:
        keys = _keys(encrypt)
    if not keys:
        raise ValueError("encrypt= has no key in it")
    ciphers.require()
    return Keyring(keys)


def _keys(given: object) -> list[bytes]:
    if isinstance(given, (bytes, bytearray)):
        return [_checked(bytes(given), "encrypt=")]
    if isinstance(given, str):
        return _in_text(given, "encrypt=")
    if isinstance(given, os.PathLike):
        return _in_file(Path(given))
    if callable(given):
        return _keys(given())
    if isinstance(given, Sequence):
        return [key for each in given for key in _keys(each)]
    raise TypeError(
        f"encrypt= takes 32 bytes, their base64 text, a file's Path, a function that gives one of these, or a list "
        f"of them, not {type(given).__name__}"
    )


def _in_file(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AgentStreamError(f"the file of keys {path} cannot be read: {error.strerror}") from error
    if len(content) == ciphers.SIZE:
        return [content]
    try:
        return _in_text(content.decode("ascii"), str(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds no key: 32 bytes, or base64 text of them") from None


def _in_text(text: str, where: str) -> list[bytes]:
    return [_decoded(part, where) for part in text.replace(",", " ").split()]


def _decoded(text: str, where: str) -> bytes:
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        raise ValueError(f"{where}: a key is base64 text of 32 random bytes, and this is none") from None
    return _checked(key, where)


def _checked(key: bytes, where: str) -> bytes:
    if len(key) != ciphers.SIZE:
        raise ValueError(f"{where}: a key has {ciphers.SIZE} bytes, not {len(key)}; os.urandom(32) makes one")
    return key
