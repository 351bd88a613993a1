"""JSON paths: where in a recorded value a rule applies.

    arguments.card.number     a field, under a field, of the arguments of any agent or step
    result[*].token           the field of each element of a list
    result.users.*.email      any field
    **.ssn                    at any depth (`**` is any number of steps, none included)
    custom["credit card"][0]  a name that is no identifier; one element

A path begins with what the value is: `arguments`, `result`, `usage`, `error`, or the type of an event
that is appended or emitted (`message`, `custom`, `answer`, `session`, a type of a user's own).
What it names is taken out whole, a list or an object too.
"""

from __future__ import annotations

import re
from typing import Any

from agentstream.sessions import _forms

_PART = re.compile(
    r"""(?P<dot>\.)?(?:(?P<deep>\*\*)|(?P<any>\*)|(?P<name>[^\W\d][\w-]*))
    |\[(?:(?P<index>\d+)|(?P<each>\*)|"(?P<quoted>(?:[^"\\]|\\.)*)")\]""",
    re.VERBOSE,
)


class Deep:
    """The step that stands for any number of steps."""


def parse(path: str) -> tuple[Any, ...]:
    """The steps of a path: texts, numbers, None for any, `Deep` for any number. ValueError for what is no path."""
    if not isinstance(path, str):
        raise ValueError(f"a path is a text such as 'arguments.card.number', not {path!r}")
    steps: list[Any] = []
    at = 0
    while at < len(path):
        match = _PART.match(path, at)
        if match is None or (path[at] != "[" and bool(match["dot"]) != bool(steps)):
            raise ValueError(
                f"{path!r} is no path (at {path[at:]!r}): fields are joined by dots, elements are [0] or [*], "
                'any field is *, any depth **, a name with other characters is ["in quotes"]'
            )
        at = match.end()
        if match["deep"]:
            steps.append(Deep)
        elif match["any"] or match["each"]:
            steps.append(None)
        elif match["index"] is not None:
            steps.append(int(match["index"]))
        elif match["quoted"] is not None:
            steps.append(re.sub(r"\\(.)", r"\1", match["quoted"]))
        else:
            steps.append(match["name"])
    if not steps:
        raise ValueError("a path cannot be empty; it begins with what the value is: arguments, result, message, …")
    return tuple(steps)


def matches(steps: tuple[Any, ...], place: list[str | int], step: int = 0, at: int = 0) -> bool:
    """Whether a path names this place."""
    while step < len(steps):
        wanted = steps[step]
        if wanted is Deep:
            return any(matches(steps, place, step + 1, rest) for rest in range(at, len(place) + 1))
        if at == len(place) or (wanted is not None and wanted != place[at]):
            return False
        step, at = step + 1, at + 1
    return at == len(place)


def text_of(place: list[str | int]) -> str:
    """A place as it is shown: `arguments.cards[0].number`."""
    first, *rest = place or [""]
    return str(first) + "".join(f"[{each}]" if isinstance(each, int) else _forms.step(each) for each in rest)
