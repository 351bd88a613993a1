"""Keys of a server: Ed25519 for the signatures of webhooks (§7), HMAC for the tokens of wakes.

Both are made once and kept in the store, in a stream that is never served, so that every worker
has the same and a restart changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agentstream.backends.base import Backend
from agentstream.protocol.operations import Batch, Create, Read

PATH = "~ds/keys"
TOKEN_SECONDS = 86_400


class _Stored(msgspec.Struct, frozen=True):
    ed25519: bytes
    hmac: bytes


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    gen: int
    exp: int


class Keys:
    """What signs."""

    def __init__(self, signing: bytes, tokens: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(signing)
        self._tokens = tokens
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._public = _base64(public)
        thumbprint = f'{{"crv":"Ed25519","kty":"OKP","x":"{self._public}"}}'  # RFC 7638
        self.kid = "ds_" + _base64(hashlib.sha256(thumbprint.encode()).digest())

    def jwks(self) -> dict[str, object]:
        """The public key, as a JSON Web Key Set."""
        key = {"kty": "OKP", "crv": "Ed25519", "x": self._public, "kid": self.kid, "use": "sig", "alg": "EdDSA"}
        return {"keys": [key]}

    def signature(self, body: bytes, now: float) -> str:
        """The `Webhook-Signature` of a body that is sent now."""
        moment = str(int(now))
        signed = self._private.sign(moment.encode() + b"." + body)
        return f"t={moment},kid={self.kid},ed25519={_base64(signed)}"

    def token(self, subject: str, generation: int) -> str:
        """What whoever was woken shows; holds for a day."""
        claims = _base64(msgspec.json.encode(_Claims(subject, generation, int(time.time()) + TOKEN_SECONDS)))
        return f"{claims}.{self._seal(claims)}"

    def read_token(self, token: str, subject: str) -> int | Literal["TOKEN_INVALID", "TOKEN_EXPIRED"]:
        """The generation that a token is of, or what is wrong with it."""
        claims, _, seal = token.partition(".")
        if not hmac.compare_digest(seal.encode("utf-8", "surrogateescape"), self._seal(claims).encode()):
            return "TOKEN_INVALID"
        told = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)), type=_Claims)
        if not hmac.compare_digest(told.sub.encode(), subject.encode()):
            return "TOKEN_INVALID"
        return told.gen if time.time() < told.exp else "TOKEN_EXPIRED"

    def _seal(self, claims: str) -> str:
        return _base64(hmac.digest(self._tokens, claims.encode("utf-8", "surrogateescape"), "sha256"))


async def keys_of(backend: Backend) -> Keys:
    """The keys of a store, made if there are none yet. Whose come first are everybody's."""
    offered = msgspec.json.encode(_Stored(secrets.token_bytes(32), secrets.token_bytes(32)))
    await backend.aexecute(Create(PATH, (offered,)))
    batch: Batch = await backend.aexecute(Read(PATH, limit=1))
    stored = msgspec.json.decode(batch.messages[0], type=_Stored)
    return Keys(stored.ed25519, stored.hmac)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
