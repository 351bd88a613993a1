"""A replay made several times, and judged each time (`repeat=`, `check=`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import structs

if TYPE_CHECKING:
    from agentstream.agents.replay import Report
    from agentstream.agents.replay_options import Asked
    from agentstream.backends.driving import Steps


def tried(asked: Asked, once: Callable[[int], Steps[Report]]) -> Steps[Report]:
    """As often as asked: `once` is given the number of the try, from 1 on. The first difference is the whole's."""
    tries: list[Report] = []
    for number in range(1, asked.repeat + 1):
        report = yield from once(number)
        tries.append(report)
        if asked.live_from is not None and report.fork is None:
            break  # it was not agreed to
    if asked.check is None and asked.repeat == 1:
        return tries[0]
    passed, notes = 0, list(tries[0].notes)
    for number, report in enumerate(tries, 1):
        fine, why = _passes(report, asked.check)
        passed += fine
        if why:
            notes.append(f"try {number}: {why}")
    first = next((report for report in tries if report.divergence is not None), tries[0])
    identical = all(report.identical for report in tries)
    return structs.replace(first, identical=identical, tries=tuple(tries), passed=passed, notes=tuple(notes))


def _passes(report: Report, check: Callable[[Any], Any] | None) -> tuple[bool, str]:
    """Whether a replay passes, and why not. Without a check: whether it came out as recorded."""
    if check is None:
        return report.identical, ""
    if not report.returned:
        return False, "it did not come to its end"
    try:
        return (True, "") if check(report.result) else (False, f"the check says no to {_brief(report.result)}")
    except Exception as error:
        return False, f"the check raised {type(error).__name__}: {error}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
