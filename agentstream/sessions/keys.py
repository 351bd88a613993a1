"""Step keys and run keys: what they say, and how they are written."""

from __future__ import annotations

from urllib.parse import quote, unquote

import msgspec


class StepKey(msgspec.Struct, frozen=True):
    """A step's identity and one of its attempts: `<run>/<lane>/<ordinal>#<attempt>`.

    A child run has a key of the same form, which is then the `<run>` of its own steps.
    """

    run: str
    lane: str
    ordinal: int
    attempt: int

    @property
    def identity(self) -> tuple[str, str, int]:
        return (self.run, self.lane, self.ordinal)

    def __str__(self) -> str:
        return f"{self.run}/{self.lane}/{self.ordinal}#{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> StepKey | None:
        """The key that `str()` wrote, None where `text` is none. Without `#attempt` the attempt is 0."""
        parts = text.rsplit("/", 2)
        if len(parts) != 3:
            return None
        ordinal, hash, attempt = parts[2].partition("#")
        if not _number(ordinal) or (hash and not _number(attempt)):
            return None
        return cls(parts[0], parts[1], int(ordinal), int(attempt or 0))


def _number(text: str) -> bool:
    """Digits as we write them: `isdecimal` alone takes other scripts, and `int` refuses thousands of them."""
    return text.isascii() and text.isdecimal() and len(text) <= 18


def run_key(run_id: str) -> str:
    """A run id given by a user, as it stands in keys (`/` and `#` separate there)."""
    return quote(run_id, safe=" :.@+,=()[]{}!$&'*;")


def run_name(key: str) -> str:
    """The user's run id again."""
    return unquote(key)
