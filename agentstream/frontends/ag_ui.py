"""A session as AG-UI 1.0 events (docs.ag-ui.com, the events' schema).

A run is RUN_STARTED … RUN_FINISHED or RUN_ERROR; one that waits for a person finishes as an interrupt, and one that
goes on begins again under its id. What is said outside a run is told in one of its own. Text comes as deltas and ends
with its message; where something told is taken back (a failed attempt, a rewind) MESSAGES_SNAPSHOT says what stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from agentstream.frontends import story
from agentstream.frontends.story import plain, text_id
from agentstream.frontends.translation import Place, Sent, Translation
from agentstream.sessions import moments
from agentstream.sessions.conversions.parts import (
    Message,
    Part,
    arguments_text,
    is_kind,
    result_text,
    text_of,
    told,
)
from agentstream.sessions.steps import error_line

if TYPE_CHECKING:
    from agentstream.sessions.events import Event
    from agentstream.sessions.questions import Question

_OPENING = ("began", "running")


def to_ag_ui(events: Iterable[Event], *, thread: str | None = None) -> Iterator[Sent]:
    """The AG-UI events of a session's events (`session.events()`, `session.follow()`), from its start.

    `thread` is the thread's id, by default the session's.
    """
    translation = AgUi(thread)
    for event in events:
        yield from translation.add(event)


class AgUi(Translation):
    """The same, event by event: `add` gives what an event adds. The same events always give the same."""

    def __init__(self, thread: str | None = None) -> None:
        super().__init__()
        self.thread = thread
        self.run: str | None = None
        """The run that is open in what was sent."""
        self._steps: dict[str, str] = {}
        self._messages: dict[str, Sent] = {}
        self._calls: dict[str, str] = {}
        self._live: dict[str, tuple[str, str]] = {}
        """The calls whose arguments are open: the tool, and the message that they are in."""
        self._cut: set[str] = set()
        """The calls whose arguments ended before they were whole, with their run."""
        self._results: set[str] = set()

    def add(self, event: Event) -> list[Sent]:
        if self.thread is None:
            self.thread = event.session or "session"
        sent: list[Sent] = []
        for telling in self.story.add(event):
            sent += self._run(telling) if isinstance(telling, story.RunTold) else self._within(telling, event)
        at = moments.read(event.timestamp) if sent else None
        stamp = {"timestamp": round(at.timestamp() * 1000)} if at is not None else {}
        return [{**each, **stamp} for each in sent]

    def opening(self) -> list[Sent]:
        """What a reader is sent who comes now and has nothing of what was sent before: the open run, what was said in
        it and before, and the texts that are open, which go on from there."""
        if self.run is None:
            return []
        sent = [self._started(self.run), self._snapshot(without=self._open)]
        sent += [{"type": "STEP_STARTED", "stepName": name} for name in self._steps.values()]
        for (kind, id), text in self._open.items():
            if kind == "args":
                sent += [_began(id, *self._live[id]), {"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": text}]
            else:
                sent += [*_opened(kind, id), *_content(kind, id, text)]
        return sent

    # --- what is told ------------------------------------------------------------------------------------------------

    def _within(self, telling: story.Telling, event: Event) -> list[Sent]:
        sent = self._tell(telling)
        if sent and self.run is None:
            alone = f"@{event.index}"
            ends = [*self._closed(), {"type": "RUN_FINISHED", "threadId": self.thread, "runId": alone}]
            return [self._started(alone), *sent, *ends]
        return sent

    def _run(self, told: story.RunTold) -> list[Sent]:
        if told.status in _OPENING:
            if self.run == told.id:
                return []
            before = self._finished({}) if self.run is not None else []
            self.run = told.id
            return [*before, self._started(told.id)]
        usage = [_usage(model, counts) for model, counts in told.usage.items()]
        ends: Sent = {"usage": usage} if usage else {}
        again: list[Sent] = []
        if self.run is None:
            self.run, again = told.id, [self._started(told.id)]
        if told.status in ("failed", "exhausted"):
            error = told.error or {}
            text = str(error.get("text") or f"the run is {told.status}")
            code = {"code": error["name"]} if isinstance(error.get("name"), str) else {"code": told.status}
            closed, self.run = self._closed(), None
            return [*again, *closed, {"type": "RUN_ERROR", "message": text, **code, **ends}]
        if told.status == "waiting":
            ends["outcome"] = {"type": "interrupt", "interrupts": _interrupts(told)}
        elif told.status == "cancelled":
            ends["outcome"] = {"type": "cancelled"}
        else:
            ends["outcome"] = {"type": "success"}
            if told.result is not None:
                ends["result"] = plain(told.result)
        return [*again, *self._finished(ends)]

    def _started(self, run: str) -> Sent:
        return {"type": "RUN_STARTED", "threadId": self.thread, "runId": run}

    def _finished(self, ends: Sent) -> list[Sent]:
        closed, run, self.run = self._closed(), self.run, None
        return [*closed, {"type": "RUN_FINISHED", "threadId": self.thread, "runId": run, **ends}]

    def _closed(self) -> list[Sent]:
        sent = [each for kind, id in self._open for each in _closed(kind, id)]
        sent += [{"type": "STEP_FINISHED", "stepName": name} for name in self._steps.values()]
        for id, (name, of) in self._live.items():
            self._know_call(id, name, of, self._open["args", id])
            self._cut.add(id)
        self._open.clear()
        self._live.clear()
        self._steps.clear()
        return sent

    def _asked(self, asked: story.Asked) -> list[Sent]:
        return self._question("question", asked.question)

    def _answered(self, answered: story.Answered) -> list[Sent]:
        return self._question("answer", answered.question)

    def _question(self, name: str, question: Question) -> list[Sent]:
        if self.run is None:
            return []
        return [{"type": "CUSTOM", "name": f"agentstream.{name}", "value": question_told(question)}]

    def _custom(self, told: story.Custom) -> list[Sent]:
        if told.type == "state":
            return [{"type": "STATE_SNAPSHOT", "snapshot": plain(told.value)}]
        return [{"type": "CUSTOM", "name": told.type, "value": plain(told.value)}]

    def _step_told(self, told: story.StepTold) -> list[Sent]:
        if told.ended:
            name = self._steps.pop(told.key, None)
            return [{"type": "STEP_FINISHED", "stepName": name}] if name is not None else []
        if self.run is None or told.kind == "human":
            return []
        taken = set(self._steps.values())
        name = told.name if told.name not in taken else f"{told.name} ({told.key})"
        self._steps[told.key] = name
        return [{"type": "STEP_STARTED", "stepName": name}]

    # --- texts -------------------------------------------------------------------------------------------------------

    def _grown(self, place: Place, delta: story.Delta) -> list[Sent]:
        if place[0] == "args":
            return self._arguments(place, delta)
        begins = [] if place in self._open else _opened(*place)
        if place[0] == "text":
            begins = [*self._end(("reasoning", place[1])), *begins]
        self._open[place] = self._open.get(place, "") + delta.text
        self._know(place, self._text(place) + delta.text)
        return [*begins, *_content(*place, delta.text)]

    def _text(self, place: Place) -> str:
        return str(self._messages.get(text_id(*place), {}).get("content") or "")

    def _know(self, place: Place, text: str, role: str = "assistant") -> None:
        id = text_id(*place)
        role = "reasoning" if place[0] == "reasoning" else role
        known = self._messages.setdefault(id, {"id": id, "role": role})
        known["content"] = text

    def _end(self, place: Place) -> list[Sent]:
        return _closed(*place) if self._open.pop(place, None) is not None else []

    def _replaced(self, place: Place, text: str) -> list[Sent]:
        """Something told does not stand: what does, from now on."""
        if place[0] == "args":
            return self._taken_back(place[1])
        if self._text(place) == text and text_id(*place) not in self._messages:
            return []
        ended = self._end(place)
        if text:
            self._know(place, text)
        else:
            self._messages.pop(text_id(*place), None)
        return [*ended, self._snapshot()]

    def _said(self, said: story.Said) -> list[Sent]:
        return self._message(said.id, said.message)

    def _message(self, id: str, message: Message) -> list[Sent]:
        parts: list[Part] = message["parts"]
        role = message["role"]
        if role == "tool":
            return [each for part in parts if is_kind(part, "tool_result") for each in self._given(part)]
        sent: list[Sent] = []
        if role == "assistant":
            thought = "".join(text_of(part) for part in parts if is_kind(part, "reasoning"))
            sent += self._whole(("reasoning", id), thought, role)
        text = "".join(text_of(part) if is_kind(part, "text") else told(part) for part in parts)
        sent += self._whole(("text", id), text, role)
        for part in parts:
            if is_kind(part, "tool_call"):
                sent += self._call(id, part)
        return sent

    def _whole(self, place: Place, text: str, role: str) -> list[Sent]:
        known = self._text(place)
        if not text or text == known:
            return self._end(place)
        if not text.startswith(known):
            ended = self._end(place)
            self._know(place, text, role)
            return [*ended, self._snapshot()]
        begins = [] if place in self._open else _opened(*place, role)
        self._open.pop(place, None)
        self._know(place, text, role)
        return [*begins, *_content(*place, text[len(known) :]), *_closed(*place)]

    # --- tools -------------------------------------------------------------------------------------------------------

    def _arguments(self, place: Place, delta: story.Delta) -> list[Sent]:
        """More of a call's arguments. Which call that is was told with the first of them."""
        id, name, of = delta.target, delta.name or "", delta.message or delta.target
        if place not in self._open and id in self._calls:
            return []  # it is known whole
        begins = [] if place in self._open else [_began(id, name, of)]
        self._open[place] = self._open.get(place, "") + delta.text
        self._live[id] = (name, of)
        return [*begins, {"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": delta.text}]

    def _call(self, of: str, part: Part) -> list[Sent]:
        id, name, arguments = str(part.get("id")), str(part.get("name")), arguments_text(part)
        if id in self._cut:
            self._forget_call(id)
            self._know_call(id, name, of, arguments)
            return [self._snapshot()]
        if id in self._calls:
            return []
        known = self._open.pop(("args", id), None)
        live = self._live.pop(id, None)
        if known is None or live is None:
            self._know_call(id, name, of, arguments)
            whole = [{"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": arguments}]
            return [_began(id, name, of), *whole, {"type": "TOOL_CALL_END", "toolCallId": id}]
        goes_on = arguments.startswith(known)
        more = arguments[len(known) :] if goes_on else ""
        same = live == (name, of) and (goes_on or _as_json(known) == _as_json(arguments))
        self._know_call(id, name, of, arguments if goes_on or not same else known)
        rest = [{"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": more}] if more else []
        return [*rest, {"type": "TOOL_CALL_END", "toolCallId": id}, *([] if same else [self._snapshot()])]

    def _know_call(self, id: str, name: str, of: str, arguments: str) -> None:
        self._calls[id] = name
        known = self._messages.setdefault(of, {"id": of, "role": "assistant"})
        function = {"name": name, "arguments": arguments}
        known.setdefault("toolCalls", []).append({"id": id, "type": "function", "function": function})

    def _taken_back(self, id: str) -> list[Sent]:
        """A call whose arguments came, in an attempt that does not stand."""
        self._live.pop(id, None)
        if id in self._cut:
            self._forget_call(id)
            return [self._snapshot()]
        if self._open.pop(("args", id), None) is None:
            return []
        return [{"type": "TOOL_CALL_END", "toolCallId": id}, self._snapshot()]

    def _forget_call(self, id: str) -> None:
        self._cut.discard(id)
        self._calls.pop(id, None)
        for said in self._messages.values():
            if "toolCalls" in said:
                said["toolCalls"] = [call for call in said["toolCalls"] if call["id"] != id]

    def _given(self, part: Part) -> list[Sent]:
        return self._gave(str(part.get("id")), result_text(part))

    def _result(self, result: story.Result) -> list[Sent]:
        if result.error is not None:
            return self._gave(result.call, error_line(result.error))
        value = result.value
        return self._gave(result.call, value if isinstance(value, str) else json.dumps(plain(value)))

    def _gave(self, call: str, content: str) -> list[Sent]:
        if call in self._results:
            return []
        self._results.add(call)
        id = f"{call}:result"
        self._messages[id] = {"id": id, "role": "tool", "toolCallId": call, "content": content}
        return [{"type": "TOOL_CALL_RESULT", "messageId": id, "toolCallId": call, "content": content, "role": "tool"}]

    # --- taken back --------------------------------------------------------------------------------------------------

    def _snapshot(self, without: Iterable[Place] = ()) -> Sent:
        left = {text_id(*place) for place in without}
        messages = [dict(said) for id, said in self._messages.items() if id not in left]
        return {"type": "MESSAGES_SNAPSHOT", "messages": [_complete(said) for said in messages]}

    def _rewound(self, rewound: story.Rewound) -> list[Sent]:
        sent = self._closed()
        self._messages.clear()
        self._calls.clear()
        self._cut.clear()
        self._results.clear()
        for message in rewound.messages:
            if message["role"] != "system":
                self._message(message["id"], message)
        self._open.clear()
        return [*sent, self._snapshot()]


def _opened(kind: str, id: str, role: str = "assistant") -> list[Sent]:
    name = text_id(kind, id)
    if kind == "text":
        return [{"type": "TEXT_MESSAGE_START", "messageId": name, "role": role}]
    start = {"type": "REASONING_MESSAGE_START", "messageId": name, "role": "reasoning"}
    return [{"type": "REASONING_START", "messageId": name}, start]


def _content(kind: str, id: str, text: str) -> list[Sent]:
    name = "TEXT_MESSAGE_CONTENT" if kind == "text" else "REASONING_MESSAGE_CONTENT"
    return [{"type": name, "messageId": text_id(kind, id), "delta": text}] if text else []


def _began(call: str, name: str, of: str) -> Sent:
    return {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": name, "parentMessageId": of}


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _closed(kind: str, id: str) -> list[Sent]:
    if kind == "args":
        return [{"type": "TOOL_CALL_END", "toolCallId": id}]
    name = text_id(kind, id)
    if kind == "text":
        return [{"type": "TEXT_MESSAGE_END", "messageId": name}]
    return [{"type": "REASONING_MESSAGE_END", "messageId": name}, {"type": "REASONING_END", "messageId": name}]


def _complete(said: Sent) -> Sent:
    return said if "content" in said or said["role"] == "assistant" else {**said, "content": ""}


_COUNTS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "reasoning_tokens": "reasoningTokens",
    "cached_tokens": "cachedInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
}


def _usage(model: str, counts: dict[str, int]) -> Sent:
    named = {ours: counts[theirs] for theirs, ours in _COUNTS.items() if theirs in counts}
    return {**({"model": model} if model else {}), **named}


def _interrupts(run: story.RunTold) -> list[Sent]:
    if not run.questions:
        until = {"metadata": {"until": run.until}} if run.until else {}
        return [{"id": f"{run.id}:waiting", "reason": "waiting", **until}]
    return [_interrupt(question) for question in run.questions]


def _interrupt(question: Question) -> Sent:
    told = question_told(question)
    schema = question.schema if isinstance(question.schema, dict) else None
    if schema is None and question.choices is not None:
        schema = {"enum": plain(question.choices)}
    return {
        "id": question.key,
        "reason": question.kind,
        "message": question.prompt,
        **({"responseSchema": schema} if schema is not None else {}),
        **({"expiresAt": told["expires"]} if "expires" in told else {}),
        "metadata": {name: told[name] for name in ("session", "step", "arguments") if name in told},
    }


def question_told(question: Question) -> Sent:
    """A question with its answer, where it has one, as JSON."""
    answer = question.answer
    known = {
        "id": question.key,
        "kind": question.kind,
        "prompt": question.prompt,
        "schema": question.schema,
        "choices": plain(question.choices) if question.choices is not None else None,
        "expires": moments.text(question.expires) if question.expires is not None else None,
        "step": question.step,
        "arguments": plain(question.arguments) if question.arguments is not None else None,
        "session": question.session or None,
        "by": answer.by if answer is not None else None,
    }
    made = {name: value for name, value in known.items() if value is not None}
    return {**made, "answer": plain(answer.value)} if answer is not None else made
