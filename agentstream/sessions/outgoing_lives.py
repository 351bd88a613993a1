"""The lives of sessions that leave the store under rules: others than theirs, and nobody takes one for the other."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from agentstream.sessions import codec

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 16


class Change(msgspec.Struct, frozen=True):
    """A message as JSON, and the life that it is from: its incarnation, and its index."""

    life: tuple[str, int]
    message: Any


class Lives:
    """Incarnations that follow from what is written: the same session under the same rules is the same life again."""

    def __init__(self, changes: Sequence[Change], told: str) -> None:
        """`told`: what the rules are called."""
        self._told = told
        digest = sha256(told.encode())
        for change in changes:
            digest.update(codec.dumps(change.message))
        self._seed = digest.digest()

    def message(self, change: Change) -> bytes:
        return codec.dumps(self._reborn(change.message))

    def _reborn(self, message: Any) -> Any:
        value = message.get("value") if isinstance(message, dict) and message.get("type") == "session" else None
        if not isinstance(value, dict) or not isinstance(value.get("incarnation"), str):
            return message
        if value["incarnation"] != message.get("key"):
            return message
        made = {name: part for name, part in value.items() if name not in ("encrypted", "erased", "keys", "compacted")}
        made["incarnation"] = self._life(value["incarnation"])
        if isinstance(value.get("lineage"), dict):
            lineage = {name: part for name, part in value["lineage"].items() if name not in ("path", "position")}
            made["lineage"] = {**lineage, "incarnation": self._life(str(lineage.get("incarnation")))}
        if isinstance(value.get("compacted"), dict):
            made["compacted"] = self._compacted(value["compacted"])
        return {**message, "key": made["incarnation"], "value": {**made, "redacted": self._told}}

    def _compacted(self, told: dict[str, Any]) -> dict[str, Any]:
        identity = [str(part) for part in told.get("identity") or ("", "0")]
        made: dict[str, Any] = {name: self._life(str(told.get(name))) for name in ("incarnation", "first")}
        made["identity"] = [self._life(identity[0]), *identity[1:]]
        return {**made, **({"replaced": told["replaced"]} if "replaced" in told else {})}

    def _life(self, incarnation: str) -> str:
        number, text = int.from_bytes(sha256(self._seed + incarnation.encode()).digest(), "big"), ""
        for _ in range(_LENGTH):
            number, digit = divmod(number, len(_LETTERS))
            text += _LETTERS[digit]
        return text
