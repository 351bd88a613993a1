"""What is said of a value that cannot be opened."""

from __future__ import annotations

from typing import Any

from agentstream.errors import Erased, Locked, StoreError

SEALED, LOCKED = "$sealed", "$locked"

GIVE = "give the client its key: Client(encrypt=…), or $AGENTSTREAM_KEY"


def refusal(why: dict[str, Any], where: str) -> Exception:
    """The error for what is closed, for a reason that `$locked` tells."""
    reason, at = why.get("reason"), why.get("at")
    if reason == "erased":
        from agentstream.sessions import moments  # it stands on events, and events on this

        when = f" on {at}" if at else ""
        return Erased(f"{where} was erased{when}: its key is gone and nobody can read it any more", at=moments.read(at))
    if reason == "wrong":
        by = f" (it is wrapped with {why['by']})" if "by" in why else ""
        return Locked(f"{where} is encrypted with a key that was not given{by}; {GIVE}", reason="wrong")
    if reason == "missing":
        return Locked(
            f"{where} is encrypted, and the key of its session is not in this store; put back a copy of the store",
            reason="missing",
        )
    return StoreError(
        f"{where} cannot be opened: it was changed, cut off or moved here from elsewhere; put back a copy of the store"
    )


def no_key(where: str) -> Locked:
    """For a client without any key."""
    return Locked(f"{where} is encrypted; {GIVE}", reason="no key")


def check_open(value: dict[str, Any], where: str) -> None:
    """Raises what is to be said of an event's value that is still closed."""
    if LOCKED in value:
        why = value[LOCKED]
        raise refusal(why if isinstance(why, dict) else {}, where)
    if SEALED in value:
        raise no_key(where)
