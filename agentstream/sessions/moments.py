"""Points in time as the log has them: RFC 3339 texts, read and compared.

What is late or expired is told from the timestamps of events, so that every reader comes to
the same end; the clock of this machine is asked in one place only.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from agentstream.sessions.events import timestamp

_FRACTION = re.compile(r"(\.\d{6})\d+|(\.\d{1,5})(?=\D|$)")


def now() -> datetime:
    """The time now, in UTC."""
    return datetime.fromtimestamp(time.time(), timezone.utc)


def text(moment: datetime) -> str:
    """As it is stored: RFC 3339 in UTC, milliseconds."""
    return timestamp(moment.timestamp())


def read(stored: object) -> datetime | None:
    """The moment of a stored text, in UTC; None where it is none. Without a zone it is taken for UTC."""
    if not isinstance(stored, str):
        return None
    if len(stored) == 24 and stored[23] == "Z":  # as we write it, which is read a hundred thousand times
        with suppress(ValueError):
            return datetime.fromisoformat(f"{stored[:23]}+00:00")
    # Python 3.10 reads neither a Z nor other than three or six digits of a second
    plain = _FRACTION.sub(lambda found: found[1] or found[2].ljust(7, "0"), stored.strip())
    plain = plain[:-1] + "+00:00" if plain[-1:] in ("Z", "z") else plain
    try:
        moment = datetime.fromisoformat(plain)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def after(span: float | timedelta | datetime, name: str) -> datetime:
    """The moment that a user means by seconds or a timedelta from now, or by a datetime with a zone.

    Raises TypeError or ValueError, naming the parameter, for what is no such thing.
    """
    if isinstance(span, datetime):
        if span.tzinfo is None:
            raise ValueError(f"{name}= is a datetime without a time zone; give it one, datetime.now(timezone.utc) has")
        return span.astimezone(timezone.utc)
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name}= is a number of seconds, a timedelta or a datetime, not {span!r}")
    if not seconds >= 0:
        raise ValueError(f"{name}= lies ahead: a number of seconds from 0 on, not {span!r}")
    try:
        return now() + timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{name}={span!r} is too far ahead to be a date") from None
