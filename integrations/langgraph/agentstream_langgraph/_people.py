"""What a thread's people and failures come to, as the events that every reader of a session knows: an interrupt is a
`question`, what it is resumed with an `answer`, what a task raised an `error`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from agentstream import NotSerializable
from agentstream.adapters import Change, encode

if TYPE_CHECKING:
    from agentstream_langgraph._index import Index

_PROMPTS = ("question", "prompt", "message", "description", "text")


def question_of(interrupt: Any) -> str:
    """The key of the question that an interrupt is."""
    return f"{interrupt.id}/0/0"


def form(value: Any) -> Any:
    """A value's recorded form; its text where it has none."""
    try:
        return encode(value).data
    except NotSerializable:
        return repr(value)


def error_of(error: Any) -> dict[str, Any]:
    """What an exception says of itself."""
    kind = type(error)
    if not isinstance(error, BaseException):
        return {"name": "Error", "text": str(error)}
    return {"name": kind.__qualname__, "text": str(error), "module": kind.__module__}


def events_of(
    index: Index, ns: str, checkpoint: str, task: str, writes: Sequence[tuple[str, Any]], number: str
) -> list[Change]:
    """The events of one task's writes. Under the lock of the thread, whose index learns what it asks."""
    found: list[Change] = []
    place = ((ns, checkpoint), task)
    for channel, value in writes:
        if channel == RESUME and isinstance(value, (list, tuple)):
            found += _answers(index, index.asked.get(place, ()), value, number)
    for channel, value in writes:
        if channel == INTERRUPT and isinstance(value, (list, tuple)):
            for interrupt in value:
                found += _question(index, place, interrupt)
        elif channel == ERROR:
            run = f"{checkpoint}:{task}"
            found.append(("error", f"{run}!{number}", {"run": run, **error_of(value)}))
    return found


def _question(index: Index, place: tuple[tuple[str, str], str], interrupt: Any) -> list[Change]:
    if not isinstance(getattr(interrupt, "id", None), str):
        return []
    key, ((ns, checkpoint), task) = question_of(interrupt), place
    if any(key in asked for asked in index.asked.values()):
        return []  # a graph says again what its subgraph asks
    index.asked.setdefault(place, []).append(key)
    value = interrupt.value
    said = {"prompt": _prompt(value), "checkpoint": checkpoint, "task": task, **({"ns": ns} if ns else {})}
    return [("question", key, said if isinstance(value, str) else {**said, "arguments": form(value)})]


def _prompt(value: Any) -> str:
    if isinstance(value, dict):
        value = next((value[name] for name in _PROMPTS if isinstance(value.get(name), str)), value)
    return value if isinstance(value, str) else json.dumps(form(value), ensure_ascii=False)


def _answers(index: Index, asked: Sequence[str], values: Sequence[Any], number: str) -> list[Change]:
    found: list[Change] = []
    for place, (key, value) in enumerate(zip(asked, values, strict=False)):
        if key not in index.answered:
            index.answered.add(key)
            found.append(("answer", f"{number}.a{place}", {"question": key, "value": form(value)}))
    return found
