"""A run as the UI message stream of Vercel's AI SDK (its `UIMessageChunk`s, ai 5 and later).

One stream is one assistant's message: that of a run. Model calls are its steps; text comes as deltas and ends with its
message; what an attempt said that failed is taken back by `reset-step`. Approvals are the SDK's own, on the call that
they are about; other questions, and events of other types, are `data-…` parts.

How a response ends (`ending`) is no part of the sequence: a run that waits or failed may go on, and the next reader's
chunks then follow on the last ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from agentstream.frontends.ag_ui import question_told
from agentstream.frontends.story import (
    ENDS,
    Answered,
    Asked,
    Custom,
    Delta,
    Result,
    Rewound,
    RunTold,
    Said,
    StepTold,
    Story,
    Telling,
    plain,
    text_id,
)
from agentstream.sessions.conversions.parts import (
    Part,
    arguments_object,
    arguments_text,
    file_of,
    is_kind,
    result_parts,
    result_text,
    text_of,
)
from agentstream.sessions.events import StepKey
from agentstream.sessions.steps import error_line

if TYPE_CHECKING:
    from agentstream.sessions.events import Event

Chunk = dict[str, Any]

_NOT_AGAIN = ("start-step", "finish-step", "message-metadata")

LARGEST_FILE = 1 << 20
"""Bytes of a file that is sent in a chunk; a larger one is told of."""


def to_ai_sdk(events: Iterable[Event], *, run: str | None = None) -> Iterator[Chunk]:
    """The chunks of a session's last run (or that of the id `run`), with their end. [] where there is no run.

    Of a run that goes on (`session.follow()`) use `AiSdk`, which gives chunks as events come.
    """
    translation = AiSdk()
    found: list[Chunk] = []
    ending: list[Chunk] = []
    for event in events:
        chunks = translation.add(event)
        if run is not None and translation.run != run:
            continue
        if translation.begins:
            found = []
        found += chunks
        ending = translation.ending()
    yield from [*found, *ending] if found else []


class AiSdk:
    """The same, event by event: `add` gives what an event adds to the message of the run that it is of."""

    def __init__(self) -> None:
        self.story = Story()
        self.run: str | None = None
        """The id of the run whose message is told."""
        self.begins = False
        """Whether the last event began it."""
        self._last: RunTold | None = None
        self._begin()

    def _begin(self) -> None:
        self._open: dict[tuple[str, str], str] = {}
        self._texts: dict[tuple[str, str], str] = {}
        self._calls: dict[str, Any] = {}
        self._approvals: dict[str, str] = {}
        self._granted: dict[tuple[str, str], str] = {}
        """Calls that may be made, by the lane and the name of their step."""
        self._making: dict[str, str] = {}
        self._results: set[str] = set()
        self._models: set[str] = set()
        self._step: list[Chunk] = []
        """The chunks of the step that is open, from which it is told again."""
        self._usage: dict[str, int] = {}

    def add(self, event: Event) -> list[Chunk]:
        self.begins = False
        chunks: list[Chunk] = []
        for telling in self.story.add(event):
            if isinstance(telling, RunTold):
                chunks += self._run(telling)
            elif self.run is not None and not self.over:
                made = self._tell(telling)
                kinds = {chunk["type"] for chunk in made}
                if "start-step" in kinds:
                    self._step = []
                elif "reset-step" not in kinds:
                    self._step += made
                chunks += made
        return chunks

    @property
    def over(self) -> bool:
        """Whether the run has come to its end, and does not go on."""
        return self._last is not None and self._last.status in ENDS

    @property
    def active(self) -> bool:
        """Whether somebody works on the run."""
        return self._last is not None and self._last.status in ("began", "running")

    def ending(self) -> list[Chunk]:
        """How a response ends here: as the run stands, with everything closed that is open."""
        told = self._last
        if told is None:
            return []
        closed = [chunk for place in self._open for chunk in _ended(place)]
        status = told.status
        if status in ("failed", "exhausted"):
            text = (told.error or {}).get("text") or f"the run is {status}"
            return [*closed, {"type": "error", "errorText": str(text)}, {"type": "finish", "finishReason": "error"}]
        if status == "cancelled":
            return [*closed, {"type": "abort"}, {"type": "finish", "finishReason": "other"}]
        reason = {"finished": "stop", "waiting": "tool-calls" if self._approvals else "other"}.get(status, "other")
        return [*closed, {"type": "finish", "finishReason": reason}]

    # --- what is told ------------------------------------------------------------------------------------------------

    def _run(self, told: RunTold) -> list[Chunk]:
        self._last = told
        if told.status != "began":
            chunks = [chunk for place in self._open for chunk in _ended(place)] if told.status in ENDS else []
            self._open = {} if told.status in ENDS else self._open
            if told.status == "finished" and told.result is not None:
                chunks.append({"type": "data-result", "data": plain(told.result)})
            return chunks
        self._begin()
        self.run, self.begins = told.id, True
        metadata = {"run": told.id, "agent": told.agent}
        return [{"type": "start", "messageId": told.id, "messageMetadata": metadata}]

    def _tell(self, telling: Telling) -> list[Chunk]:
        if isinstance(telling, Delta):
            return self._delta(telling)
        if isinstance(telling, Said):
            return self._said(telling)
        if isinstance(telling, StepTold):
            return self._model(telling) if telling.kind == "model" else self._approved(telling)
        if isinstance(telling, Result):
            error = error_line(telling.error) if telling.error is not None else None
            return self._gave(telling.call, plain(telling.value), error)
        if isinstance(telling, Asked):
            return self._asked(telling)
        if isinstance(telling, Answered):
            return self._answered(telling)
        if isinstance(telling, Rewound):
            return [{"type": "data-rewound", "data": {}}]
        if isinstance(telling, Custom):
            return [{"type": f"data-{telling.type}", "id": telling.key, "data": plain(telling.value)}]
        return []

    def _model(self, told: StepTold) -> list[Chunk]:
        """Model calls are the steps; those at the same time are one."""
        if not told.ended:
            self._models.add(told.key)
            if len(self._models) > 1:
                return []
            ended = [chunk for place in self._open for chunk in _ended(place)]  # a step taken back would leave them
            self._open.clear()
            return [*ended, {"type": "start-step"}]
        chunks: list[Chunk] = []
        for name, count in told.usage.items():
            if isinstance(count, int) and not isinstance(count, bool):
                self._usage[name] = self._usage.get(name, 0) + count
        if told.usage:
            usage = {"usage": {_camel(name): count for name, count in self._usage.items()}}
            model = {"model": told.usage["model"]} if isinstance(told.usage.get("model"), str) else {}
            chunks.append({"type": "message-metadata", "messageMetadata": {**usage, **model}})
        if told.key in self._models:
            self._models.discard(told.key)
            if not self._models:
                chunks.append({"type": "finish-step"})
        return chunks

    # --- texts -------------------------------------------------------------------------------------------------------

    def _delta(self, delta: Delta) -> list[Chunk]:
        place = delta.place
        if place is None:
            return []
        if delta.replaces:
            return self._replaced(place, delta.text)
        if not delta.text:
            return []
        chunks = [] if place in self._open else [{"type": f"{place[0]}-start", "id": text_id(*place)}]
        if place[0] == "text":
            chunks = [*self._end(("reasoning", place[1])), *chunks]
        self._open[place] = self._texts[place] = self._texts.get(place, "") + delta.text
        return [*chunks, {"type": f"{place[0]}-delta", "id": text_id(*place), "delta": delta.text}]

    def _end(self, place: tuple[str, str]) -> list[Chunk]:
        return _ended(place) if self._open.pop(place, None) is not None else []

    def _said(self, said: Said) -> list[Chunk]:
        parts: list[Part] = said.message["parts"]
        role = said.message["role"]
        if role == "tool":
            return [chunk for part in parts if is_kind(part, "tool_result") for chunk in self._given(part)]
        if role != "assistant":
            return []  # the user's own messages are the front end's
        chunks: list[Chunk] = []
        for kind in ("reasoning", "text"):
            text = "".join(text_of(part) for part in parts if is_kind(part, kind))
            chunks += self._whole((kind, said.id), text)
        for number, part in enumerate(parts):
            if is_kind(part, "tool_call"):
                chunks += self._call(part)
            elif is_kind(part, "file"):
                chunks += _file(f"{said.id}.{number}", part)
        return chunks

    def _whole(self, place: tuple[str, str], text: str) -> list[Chunk]:
        known = self._texts.get(place, "")
        if not text or text == known:
            return self._end(place)
        if known and (not text.startswith(known) or place not in self._open):
            return self._replaced(place, text)
        chunks: list[Chunk] = [] if place in self._open else [{"type": f"{place[0]}-start", "id": text_id(*place)}]
        chunks.append({"type": f"{place[0]}-delta", "id": text_id(*place), "delta": text[len(known) :]})
        self._texts[place] = text
        self._open.pop(place, None)
        return [*chunks, *_ended(place)]

    def _replaced(self, place: tuple[str, str], text: str) -> list[Chunk]:
        """The step told again, with this text as it stands. What an earlier step said stays as it is: it was closed."""
        open_before = place in self._open
        if not any(chunk.get("id") == text_id(*place) and chunk["type"].startswith(place[0]) for chunk in self._step):
            self._texts.pop(place, None)
            return []
        self._open.pop(place, None)
        self._texts.pop(place, None)
        names = {f"{place[0]}-{part}" for part in ("start", "delta", "end")}
        kept = [chunk for chunk in self._step if not (chunk["type"] in names and chunk.get("id") == text_id(*place))]
        if text:
            self._texts[place] = text
            kept += [
                {"type": f"{place[0]}-start", "id": text_id(*place)},
                {"type": f"{place[0]}-delta", "id": text_id(*place), "delta": text},
            ]
            if open_before:
                self._open[place] = text
            else:
                kept += _ended(place)
        self._step = kept
        started = [chunk for chunk in kept if chunk["type"] not in _NOT_AGAIN]
        return [{"type": "reset-step"}, *started]

    # --- tools and questions -----------------------------------------------------------------------------------------

    def _call(self, part: Part) -> list[Chunk]:
        id, name, given = str(part.get("id")), str(part.get("name")), arguments_object(part)
        if id in self._calls:
            return []
        self._calls[id] = name
        return [_input(id, name, arguments_text(part) if given is None else given)]

    def _given(self, part: Part) -> list[Chunk]:
        content = part.get("content")
        shown = content if content is not result_parts(part) else result_text(part)
        return self._gave(str(part.get("id")), plain(shown), result_text(part) if part.get("is_error") else None)

    def _gave(self, call: str, value: Any, error: str | None) -> list[Chunk]:
        if call not in self._calls or call in self._results:
            return []
        self._results.add(call)
        if error is not None:
            return [{"type": "tool-output-error", "toolCallId": call, "errorText": error}]
        return [{"type": "tool-output-available", "toolCallId": call, "output": value}]

    def _asked(self, asked: Asked) -> list[Chunk]:
        question = asked.question
        if question.kind != "approval":
            return [{"type": "data-question", "id": question.key, "data": question_told(question)}]
        call = asked.call or question.key
        chunks: list[Chunk] = []
        if call not in self._calls:
            self._calls[call] = name = question.step or "tool"
            chunks.append(_input(call, name, plain(question.arguments)))
        self._approvals[question.key] = call
        return [*chunks, {"type": "tool-approval-request", "approvalId": question.key, "toolCallId": call}]

    def _answered(self, answered: Answered) -> list[Chunk]:
        question = answered.question
        call = self._approvals.pop(question.key, None)
        if call is None:
            return [{"type": "data-question", "id": question.key, "data": question_told(question)}]
        value = question.answer.value if question.answer is not None else None
        approved = value.get("approved") is True if isinstance(value, dict) else value is True
        reason = value.get("reason") if isinstance(value, dict) else None
        said = {"reason": reason} if isinstance(reason, str) else {}
        told: Chunk = {"type": "tool-approval-response", "approvalId": question.key, "approved": approved, **said}
        if approved:
            self._granted[_lane(question.key), question.step or ""] = call
            return [told]
        self._results.add(call)
        return [told, {"type": "tool-output-denied", "toolCallId": call}]

    def _approved(self, told: StepTold) -> list[Chunk]:
        """The step that was approved: where it stands for no call of a model's, its result is the approved call's."""
        if not told.ended:
            call = self._granted.pop((_lane(told.key), told.name), None)
            if call is not None:
                self._making[told.key] = call
            return []
        call = self._making.pop(told.key, None)
        if call is None:
            return []
        error = error_line(told.error) if told.error is not None else None
        return self._gave(call, plain(told.result()) if error is None else None, error)


def _lane(key: str) -> str:
    place = StepKey.parse(key)
    return f"{place.run}/{place.lane}" if place is not None else key


def _ended(place: tuple[str, str]) -> list[Chunk]:
    return [{"type": f"{place[0]}-end", "id": text_id(*place)}]


def _input(call: str, name: str, given: Any) -> Chunk:
    return {"type": "tool-input-available", "toolCallId": call, "toolName": name, "input": given}


def _file(id: str, part: Part) -> list[Chunk]:
    file = file_of(part)
    if file is None:
        return []
    if file.url is not None:
        return [{"type": "file", "url": file.url, "mediaType": file.media_type}]
    size = getattr(part.get("file"), "size", None)
    if file.id is not None or (isinstance(size, int) and size > LARGEST_FILE):
        return [
            {"type": "data-file", "id": id, "data": {"name": file.name, "mediaType": file.media_type, "size": size}}
        ]
    return [{"type": "file", "url": file.data_url(), "mediaType": file.media_type}]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
