"""What `session.replay` may be asked, and what of it goes together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from agentstream.agents.replay_live import Changes
from agentstream.agents.replay_matching import MATCHES, Match
from agentstream.agents.replay_watch import Break, OnStop
from agentstream.sessions.prices import Cost, Prices, prices_from


class ReplayOptions(TypedDict, total=False):
    """The options of `session.replay`, which explains them."""

    run: str | None
    input: Any
    until: Any
    break_: str | Sequence[str]
    on_break: OnStop | None
    match: Match
    keep_going: bool
    live_from: Any
    into: str | None
    model: str | None
    system: str | None
    mock: Mapping[str, Any] | None
    allow: str | Sequence[str]
    prices: Mapping[str, Any] | str | None
    confirm: Callable[[Cost], bool] | None
    repeat: int
    check: Callable[[Any], Any] | None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `session.replay`, checked."""

    run: str | None = None
    input: Any = None
    until: Any = None
    break_: tuple[Break, ...] = ()
    on_break: OnStop | None = None
    match: str = "strict"
    keep_going: bool = False
    live_from: Any = None
    into: str | None = None
    changes: Changes = Changes()
    mock: Mapping[str, Any] = {}
    allow: frozenset[str] = frozenset()
    prices: Prices = {}
    confirm: Callable[[Cost], bool] | None = None
    repeat: int = 1
    check: Callable[[Any], Any] | None = None


def asked(
    *,
    run: str | None = None,
    input: Any = None,
    until: Any = None,
    break_: str | Sequence[str] = (),
    on_break: OnStop | None = None,
    match: str = "strict",
    keep_going: bool = False,
    live_from: Any = None,
    into: str | None = None,
    model: str | None = None,
    system: str | None = None,
    mock: Mapping[str, Any] | None = None,
    allow: str | Sequence[str] = (),
    prices: Mapping[str, Any] | str | None = None,
    confirm: Callable[[Cost], bool] | None = None,
    repeat: int = 1,
    check: Callable[[Any], Any] | None = None,
) -> Asked:
    """Checks what `session.replay` was given. Raises TypeError and ValueError."""
    changes = Changes(model, system)
    steered = {"into": into, "model": model, "system": system, "mock": mock, "allow": allow, "confirm": confirm}
    if live_from is None:
        given = [name for name, value in steered.items() if value]
        if given:
            raise ValueError(f"{given[0]}= is for a replay that runs on: say from which step on with live_from=")
    else:
        offline = {"until": until, "break_": break_, "keep_going": keep_going, "input": input}
        given = [name for name, value in offline.items() if value is not None and value != () and value is not False]
        if given or match != "strict":
            raise ValueError(f"{(given or ['match'])[0]}= and live_from= do not go together")
    if match not in MATCHES:
        raise ValueError(f"match= is one of {', '.join(MATCHES)}, not {match!r}")
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
        raise ValueError(f"repeat= is a number of replays, at least 1, not {repeat!r}")
    if repeat > 1 and on_break is not None:
        raise ValueError("on_break= and repeat= do not go together")
    return Asked(
        run=run,
        input=input,
        until=until,
        break_=tuple(Break.read(text) for text in _texts(break_)),
        on_break=on_break,
        match=match,
        keep_going=keep_going,
        live_from=live_from,
        into=into,
        changes=changes,
        mock=dict(mock or {}),
        allow=frozenset(_texts(allow)),
        prices=prices_from(prices) if live_from is not None else {},
        confirm=confirm,
        repeat=repeat,
        check=check,
    )


def _texts(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)
