"""What model calls cost: recorded tokens times a table of prices.

The table here is a starting point: list prices in US dollars for a million tokens, as they were in 2025.
`$AGENTSTREAM_PRICES` names a JSON file of the same form that goes before it:
`{"model": {"input": 2.5, "output": 10, "cached": 1.25}}`. A model is found by its name, or by
the longest name in the table of which its own is a version (`gpt-4o-2024-08-06` is a `gpt-4o`,
`gpt-4o-audio-preview` is none: another model of the family has another price).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.sessions.steps import mapping

if TYPE_CHECKING:
    from agentstream.sessions.events import Event
    from agentstream.sessions.state import State

VARIABLE = "AGENTSTREAM_PRICES"
MILLION = 1_000_000
_VERSION = re.compile(r"[-:@](?:v?[\d.:-]+|latest)")


class Price(msgspec.Struct, frozen=True):
    """US dollars for a million tokens; `cached` for input that the provider had read before."""

    input: float
    output: float
    cached: float | None = None


Prices = Mapping[str, Price]

KNOWN: Prices = {
    "gpt-4o": Price(2.5, 10, 1.25),
    "gpt-4o-mini": Price(0.15, 0.6, 0.075),
    "gpt-4.1": Price(2, 8, 0.5),
    "gpt-4.1-mini": Price(0.4, 1.6, 0.1),
    "gpt-4.1-nano": Price(0.1, 0.4, 0.025),
    "gpt-5": Price(1.25, 10, 0.125),
    "gpt-5-mini": Price(0.25, 2, 0.025),
    "gpt-5-nano": Price(0.05, 0.4, 0.005),
    "o3": Price(2, 8, 0.5),
    "o4-mini": Price(1.1, 4.4, 0.275),
    "claude-3-5-haiku": Price(0.8, 4, 0.08),
    "claude-haiku-4-5": Price(1, 5, 0.1),
    "claude-sonnet-4": Price(3, 15, 0.3),
    "claude-opus-4": Price(15, 75, 1.5),
    "claude-opus-4-5": Price(5, 25, 0.5),
    "gemini-2.5-pro": Price(1.25, 10, 0.31),
    "gemini-2.5-flash": Price(0.3, 2.5, 0.075),
    "gemini-2.5-flash-lite": Price(0.1, 0.4, 0.025),
}


class Used(msgspec.Struct, frozen=True):
    """What the calls of one model used; `cached_tokens` are those of the input that the provider had read before."""

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


class Cost(msgspec.Struct, frozen=True):
    """What calls cost. `dollars` are those of the models with a price; `unpriced` names the others."""

    dollars: float = 0.0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether every call has a price."""
        return not self.unpriced

    def __str__(self) -> str:
        if not self.calls:
            return "nothing"
        if self.unpriced and not self.dollars:
            return "unknown"
        return f"${self.dollars:.4f}" + (" and more" if self.unpriced else "")


def prices_from(given: Mapping[str, Any] | str | os.PathLike[str] | None = None) -> Prices:
    """The table: what is `given` (a mapping, or a JSON file) before $AGENTSTREAM_PRICES before the one here.

    Raises ValueError for what is no such table, OSError for a file that cannot be read.
    """
    table = dict(KNOWN)
    named = os.environ.get(VARIABLE)
    if named:
        table.update(_read(named))
    if given is not None:
        table.update(_table(given, "prices=") if isinstance(given, Mapping) else _read(given))
    return table


def _read(file: str | os.PathLike[str]) -> Prices:
    try:
        return _table(json.loads(Path(file).read_text("utf-8")), str(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no table of prices: {error}") from error


def _table(given: Any, where: str) -> Prices:
    try:
        return msgspec.convert(dict(given), dict[str, Price])
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        hint = '{"model": {"input": 2.5, "output": 10}}, in dollars for a million tokens'
        raise ValueError(f"{where} is no table of prices ({error}); it looks like {hint}") from error


def price_of(model: str, prices: Prices) -> Price | None:
    """The price of a model by its name, or by the longest known name that only a version or a date is added to."""
    name = model.rpartition("/")[2]
    if name in prices:
        return prices[name]
    fitting = [known for known in prices if name.startswith(known) and _VERSION.fullmatch(name, len(known))]
    return prices[max(fitting, key=len)] if fitting else None


def cost_of(outcomes: Iterable[Event], prices: Prices, *, model: str | None = None) -> Cost:
    """What these outcomes' model calls cost; with `model`, what they would cost of that one."""
    return cost_of_used(used_by(mapping(event, "usage") for event in outcomes), prices, model=model)


def used_by(usages: Iterable[Mapping[str, Any]]) -> tuple[Used, ...]:
    """What calls used, by model, in the order in which the models were first called; `usages` as outcomes hold them."""
    found: list[Used] = []
    for usage in usages:
        given, said = _tokens(usage, "input_tokens"), _tokens(usage, "output_tokens")
        if given or said:
            again = min(_tokens(usage, "cached_tokens"), given)
            found.append(Used(str(usage.get("model") or ""), 1, given, said, again))
    return summed(found)


def summed(used: Iterable[Used]) -> tuple[Used, ...]:
    """The same, once for each model."""
    found: dict[str, tuple[int, int, int, int]] = {}
    for each in used:
        calls, read, written, cached = found.get(each.model, (0, 0, 0, 0))
        read, written = read + each.input_tokens, written + each.output_tokens
        found[each.model] = (calls + each.calls, read, written, cached + each.cached_tokens)
    return tuple(Used(model, *counts) for model, counts in found.items())


def cost_of_used(used: Iterable[Used], prices: Prices, *, model: str | None = None) -> Cost:
    """What that cost; with `model`, what it would cost of that one."""
    dollars, calls, read, written = 0.0, 0, 0, 0
    unpriced: dict[str, None] = {}
    for each in used:
        calls, read, written = calls + each.calls, read + each.input_tokens, written + each.output_tokens
        name = model or each.model
        price = price_of(name, prices)
        if price is None:
            unpriced[name or "a model that is not named"] = None
            continue
        fresh, again = each.input_tokens - each.cached_tokens, each.cached_tokens
        before = price.cached if price.cached is not None else price.input
        dollars += (fresh * price.input + again * before + each.output_tokens * price.output) / MILLION
    return Cost(dollars, calls, read, written, tuple(unpriced))


def cost_of_session(state: State, prices: Prices) -> Cost:
    """What the session's model calls cost, those that it shares with a source included."""
    return cost_of(state.of_type("outcome"), prices)


def _tokens(usage: Mapping[str, Any], name: str) -> int:
    amount = usage.get(name)
    return int(amount) if isinstance(amount, (int, float)) and not isinstance(amount, bool) and amount > 0 else 0
