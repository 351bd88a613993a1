"""AES-256-GCM as the rest uses it, and the keys that come from one random key.

Every sealed thing has a key of its own, derived (HKDF-Expand, RFC 5869: one block of HMAC-SHA256)
from the session's key and 128 random bits that stand in front of it. Nothing is counted, so
forks, processes and crashes cannot make two things share a nonce; that two of 2^48 in one
session draw the same bits has a chance below 2^-32.
"""

from __future__ import annotations

import hmac
import os
from functools import cache
from typing import TYPE_CHECKING

from agentstream.errors import AgentStreamError

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 32
"""Bytes of a key."""

SALT, TAG = 16, 16
_NONCE = bytes(12)
"""One key seals one thing, so its nonce may be any."""


class Unopened(Exception):
    """What was to be opened is not what was sealed with this key in this place."""


def require() -> None:
    """AgentStreamError where the extra that brings the ciphers is not installed."""
    _cipher()


@cache
def _cipher() -> Callable[[bytes], _Cipher]:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise AgentStreamError(
            "encryption needs the package cryptography: install agentstream-sdk[encryption]"
        ) from error
    return AESGCM


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM as _Cipher


def seal(key: bytes, text: bytes, place: bytes) -> bytes:
    """`text` under a key derived from `key`; it opens only with the same `place`."""
    salt = os.urandom(SALT)
    return salt + _cipher()(derived(key, salt)).encrypt(_NONCE, text, place)


def unseal(key: bytes, sealed: bytes, place: bytes) -> bytes:
    """What `seal` was given. Raises Unopened."""
    return unseal_by(derived(key, sealed[:SALT]), sealed, place)


def unseal_by(own: bytes, sealed: bytes, place: bytes) -> bytes:
    """As `unseal`, by the one key that was derived for it."""
    try:
        return _cipher()(own).decrypt(_NONCE, sealed[SALT:], place)
    except Exception as error:  # InvalidTag, which is the extra's, or ValueError for what is too short
        raise Unopened from error


def derived(key: bytes, salt: bytes) -> bytes:
    """The key of the one thing that has `salt` in front of it, or of the stream whose path `salt` is."""
    return hmac.digest(key, b"agentstream 1 " + salt + b"\x01", "sha256")
