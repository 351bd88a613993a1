"""A run as the UI message stream of Vercel's AI SDK (its `UIMessageSent`s, ai 5 and later).

One stream is one assistant's message: that of a run. Model calls are its steps; text comes as deltas and ends with its
message; what an attempt said that failed is taken back by `reset-step`. Approvals are the SDK's own, on the call that
they are about; other questions, and events of other types, are `data-…` parts.

How a response ends (`ending`) is no part of the sequence: a run that waits or failed may go on, and the next reader's
chunks then follow on the last ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from agentstream.frontends import story
from agentstream.frontends.ag_ui import question_told
from agentstream.frontends.story import ENDS, plain, text_id
from agentstream.frontends.translation import Place, Sent, Translation
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

_NOT_AGAIN = ("start-step", "finish-step", "message-metadata")

LARGEST_FILE = 1 << 20
"""Bytes of a file that is sent in a chunk; a larger one is told of."""


def to_ai_sdk(events: Iterable[Event], *, run: str | None = None) -> Iterator[Sent]:
    """The chunks of a session's last run (or that of the id `run`), with their end. [] where there is no run.

    Of a run that goes on (`session.follow()`) use `AiSdk`, which gives chunks as events come.
    """
    translation = AiSdk()
    found: list[Sent] = []
    ending: list[Sent] = []
    for event in events:
        chunks = translation.add(event)
        if run is not None and translation.run != run:
            continue
        if translation.begins:
            found = []
        found += chunks
        ending = translation.ending()
    yield from [*found, *ending] if found else []


class AiSdk(Translation):
    """The same, event by event: `add` gives what an event adds to the message of the run that it is of."""

    def __init__(self) -> None:
        super().__init__()
        self.run: str | None = None
        """The id of the run whose message is told."""
        self.begins = False
        """Whether the last event began it."""
        self._last: story.RunTold | None = None
        self._begin()

    def _begin(self) -> None:
        self._open.clear()
        self._texts: dict[Place, str] = {}
        self._calls: dict[str, Any] = {}
        self._approvals: dict[str, str] = {}
        self._granted: dict[Place, str] = {}
        """Calls that may be made, by the lane and the name of their step."""
        self._making: dict[str, str] = {}
        self._results: set[str] = set()
        self._models: set[str] = set()
        self._step: list[Sent] = []
        """The chunks of the step that is open, from which it is told again."""
        self._usage: dict[str, int] = {}

    def add(self, event: Event) -> list[Sent]:
        self.begins = False
        chunks: list[Sent] = []
        for telling in self.story.add(event):
            if isinstance(telling, story.RunTold):
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

    def ending(self) -> list[Sent]:
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

    def _run(self, told: story.RunTold) -> list[Sent]:
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

    def _step_told(self, told: story.StepTold) -> list[Sent]:
        return self._model(told) if told.kind == "model" else self._approved(told)

    def _result(self, result: story.Result) -> list[Sent]:
        error = error_line(result.error) if result.error is not None else None
        return self._gave(result.call, plain(result.value), error)

    def _rewound(self, rewound: story.Rewound) -> list[Sent]:
        return [{"type": "data-rewound", "data": {}}]

    def _custom(self, told: story.Custom) -> list[Sent]:
        return [{"type": f"data-{told.type}", "id": told.key, "data": plain(told.value)}]

    def _model(self, told: story.StepTold) -> list[Sent]:
        """Model calls are the steps; those at the same time are one."""
        if not told.ended:
            self._models.add(told.key)
            if len(self._models) > 1:
                return []
            ended = [chunk for place in self._open for chunk in _ended(place)]  # a step taken back would leave them
            self._open.clear()
            return [*ended, {"type": "start-step"}]
        chunks: list[Sent] = []
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

    def _grown(self, place: Place, delta: story.Delta) -> list[Sent]:
        if place[0] == "args" and place not in self._open and delta.target in self._calls:
            return []  # the call is known whole
        chunks = [] if place in self._open else [_began(place, delta.name)]
        if place[0] == "text":
            chunks = [*self._end(("reasoning", place[1])), *chunks]
        self._open[place] = self._texts[place] = self._texts.get(place, "") + delta.text
        return [*chunks, _more(place, delta.text)]

    def _end(self, place: Place) -> list[Sent]:
        return _ended(place) if self._open.pop(place, None) is not None else []

    def _said(self, said: story.Said) -> list[Sent]:
        parts: list[Part] = said.message["parts"]
        role = said.message["role"]
        if role == "tool":
            return [chunk for part in parts if is_kind(part, "tool_result") for chunk in self._given(part)]
        if role != "assistant":
            return []  # the user's own messages are the front end's
        chunks: list[Sent] = []
        for kind in ("reasoning", "text"):
            text = "".join(text_of(part) for part in parts if is_kind(part, kind))
            chunks += self._whole((kind, said.id), text)
        for number, part in enumerate(parts):
            if is_kind(part, "tool_call"):
                chunks += self._call(part)
            elif is_kind(part, "file"):
                chunks += _file(f"{said.id}.{number}", part)
        return chunks

    def _whole(self, place: Place, text: str) -> list[Sent]:
        known = self._texts.get(place, "")
        if not text or text == known:
            return self._end(place)
        if known and (not text.startswith(known) or place not in self._open):
            return self._replaced(place, text)
        chunks: list[Sent] = [] if place in self._open else [_began(place)]
        chunks.append(_more(place, text[len(known) :]))
        self._texts[place] = text
        self._open.pop(place, None)
        return [*chunks, *_ended(place)]

    def _replaced(self, place: Place, text: str) -> list[Sent]:
        """The step told again, with this text as it stands. What an earlier step said stays as it is: it was closed."""
        open_before = place in self._open
        if not any(_is_of(chunk, place) for chunk in self._step):
            self._texts.pop(place, None)
            return []
        self._open.pop(place, None)
        self._texts.pop(place, None)
        kept = [chunk for chunk in self._step if not _is_of(chunk, place)]
        if text and place[0] != "args":
            self._texts[place] = text
            kept += [_began(place), _more(place, text)]
            if open_before:
                self._open[place] = text
            else:
                kept += _ended(place)
        self._step = kept
        started = [chunk for chunk in kept if chunk["type"] not in _NOT_AGAIN]
        return [{"type": "reset-step"}, *started]

    # --- tools and questions -----------------------------------------------------------------------------------------

    def _call(self, part: Part) -> list[Sent]:
        id, name, given = str(part.get("id")), str(part.get("name")), arguments_object(part)
        if id in self._calls:
            return []
        self._calls[id] = name
        self._open.pop(("args", id), None)
        return [_input(id, name, arguments_text(part) if given is None else given)]

    def _given(self, part: Part) -> list[Sent]:
        content = part.get("content")
        shown = content if content is not result_parts(part) else result_text(part)
        return self._gave(str(part.get("id")), plain(shown), result_text(part) if part.get("is_error") else None)

    def _gave(self, call: str, value: Any, error: str | None) -> list[Sent]:
        if call not in self._calls or call in self._results:
            return []
        self._results.add(call)
        if error is not None:
            return [{"type": "tool-output-error", "toolCallId": call, "errorText": error}]
        return [{"type": "tool-output-available", "toolCallId": call, "output": value}]

    def _asked(self, asked: story.Asked) -> list[Sent]:
        question = asked.question
        if question.kind != "approval":
            return [{"type": "data-question", "id": question.key, "data": question_told(question)}]
        call = asked.call or question.key
        chunks: list[Sent] = []
        if call not in self._calls:
            self._calls[call] = name = question.step or "tool"
            chunks.append(_input(call, name, plain(question.arguments)))
        self._approvals[question.key] = call
        return [*chunks, {"type": "tool-approval-request", "approvalId": question.key, "toolCallId": call}]

    def _answered(self, answered: story.Answered) -> list[Sent]:
        question = answered.question
        call = self._approvals.pop(question.key, None)
        if call is None:
            return [{"type": "data-question", "id": question.key, "data": question_told(question)}]
        value = question.answer.value if question.answer is not None else None
        approved = value.get("approved") is True if isinstance(value, dict) else value is True
        reason = value.get("reason") if isinstance(value, dict) else None
        said = {"reason": reason} if isinstance(reason, str) else {}
        told: Sent = {"type": "tool-approval-response", "approvalId": question.key, "approved": approved, **said}
        if approved:
            self._granted[_lane(question.key), question.step or ""] = call
            return [told]
        self._results.add(call)
        return [told, {"type": "tool-output-denied", "toolCallId": call}]

    def _approved(self, told: story.StepTold) -> list[Sent]:
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


def _began(place: Place, tool: str | None = None) -> Sent:
    if place[0] == "args":
        return {"type": "tool-input-start", "toolCallId": place[1], "toolName": tool}
    return {"type": f"{place[0]}-start", "id": text_id(*place)}


def _more(place: Place, text: str) -> Sent:
    if place[0] == "args":
        return {"type": "tool-input-delta", "toolCallId": place[1], "inputTextDelta": text}
    return {"type": f"{place[0]}-delta", "id": text_id(*place), "delta": text}


def _ended(place: Place) -> list[Sent]:
    """A call's arguments end with the call, which a message tells."""
    return [] if place[0] == "args" else [{"type": f"{place[0]}-end", "id": text_id(*place)}]


def _is_of(chunk: Sent, place: Place) -> bool:
    """Whether a chunk is a piece of a text, its beginning or its end."""
    kind, id = place
    if kind == "args":
        return chunk.get("toolCallId") == id and chunk["type"] in ("tool-input-start", "tool-input-delta")
    return chunk.get("id") == text_id(*place) and chunk["type"] in (f"{kind}-start", f"{kind}-delta", f"{kind}-end")


def _input(call: str, name: str, given: Any) -> Sent:
    return {"type": "tool-input-available", "toolCallId": call, "toolName": name, "input": given}


def _file(id: str, part: Part) -> list[Sent]:
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
