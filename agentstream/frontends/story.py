"""What a session's events tell whoever looks on, event by event: runs, steps, text as it comes, what was said whole.

Every front end's form is made of this. It is the same whenever a reader came: an event that is taken back later (by a
rewind, or because its attempt failed) is told, and then that it was taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.conversions.conversation import Conversation, call_of
from agentstream.sessions.conversions.parts import Message
from agentstream.sessions.counting import rewound_to
from agentstream.sessions.events import OWN_TYPES, Event, StepKey, run_name
from agentstream.sessions.items import Items
from agentstream.sessions.large import decoded, put_back, whole_value
from agentstream.sessions.output import Output, standing
from agentstream.sessions.questions import Question, Questions
from agentstream.sessions.repeats import SOURCES, EventId
from agentstream.sessions.state import holds_items
from agentstream.sessions.steps import field, mapping, text

if TYPE_CHECKING:
    from collections.abc import Iterable

IGNORED = frozenset(("fenced", "duplicate", "malformed"))
"""Marks that are known when an event is read, and never change."""

ENDS = frozenset(("finished", "cancelled", "exhausted"))
"""Statuses after which a run does not go on."""


class RunTold(msgspec.Struct, frozen=True):
    """How a run stands that is nobody's child: as its status says."""

    id: str
    agent: str
    status: str
    result: Any = None
    error: dict[str, Any] | None = None
    questions: tuple[Question, ...] = ()
    until: str | None = None
    usage: dict[str, dict[str, int]] = {}
    """By model: what was counted since the run was begun or gone on with."""


class StepTold(msgspec.Struct, frozen=True):
    """A step begins, or has come to its end."""

    key: str
    kind: str
    name: str
    ended: bool = False
    error: dict[str, Any] | None = None
    usage: dict[str, Any] = {}
    result: Callable[[], Any] = lambda: None
    """What came of it; read when it is asked for."""


class Delta(msgspec.Struct, frozen=True):
    """A piece of text for a message or run; with `replaces` all that stands of it.

    Of arguments `target` is the call's id, `name` the tool's, and `message` that which the call will be a part of.
    """

    target: str
    kind: str
    text: str
    replaces: bool = False
    name: str | None = None
    message: str | None = None

    @property
    def place(self) -> tuple[str, str] | None:
        """The text that it is a piece of, by kind and message or call. None of arguments of nobody knows which tool."""
        known = self.kind in ("text", "reasoning") or (self.kind == "args" and (self.name or self.replaces))
        return (self.kind, self.target) if known else None


class Said(msgspec.Struct, frozen=True):
    """A message, whole, that was not known."""

    id: str
    message: Message


class Result(msgspec.Struct, frozen=True):
    """What came of a model's call of a tool, as its step has it."""

    call: str
    value: Any
    error: dict[str, Any] | None = None


class Asked(msgspec.Struct, frozen=True):
    """A person is asked. `call`: the model's call of a tool that is to be approved."""

    question: Question
    call: str | None = None


class Answered(msgspec.Struct, frozen=True):
    """The answer that counts was given."""

    question: Question


class Custom(msgspec.Struct, frozen=True):
    """An event of a type that is not the library's, `custom`, or `state`."""

    type: str
    key: str
    value: Any


class Rewound(msgspec.Struct, frozen=True):
    """What came after a cut is taken back; `messages` are all that stand."""

    messages: tuple[Message, ...]


Telling: TypeAlias = RunTold | StepTold | Delta | Said | Result | Asked | Answered | Custom | Rewound


class Story:
    """Takes the events of a session in their order, from its start or from where a run begins."""

    def __init__(self) -> None:
        self.run: str | None = None
        """The key of the last run that is nobody's child."""
        self.status: str | None = None
        self._events: list[Event] = []
        self._sources: dict[EventId, Event] = {}
        self._output = Output()
        self._fold = _Fold(self._source)
        self._rewinds: dict[int, int] = {}

    def add(self, event: Event) -> list[Telling]:
        """What an event tells; nothing for most."""
        self._keep(event)
        if event.mark in IGNORED:
            self._output.add(event)
            return []
        if event.type == "rewind":
            return self._rewound(event)
        changes = self._output.add(event)
        told = self._fold.add(event)
        self.run, self.status = self._fold.run, self._fold.status
        deltas = [Delta(each.target, each.kind, each.text, each.replaces, each.name, each.message) for each in changes]
        # what is taken back was said before what this event says, and what it says anew after
        return [*(each for each in deltas if each.replaces), *told, *(each for each in deltas if not each.replaces)]

    def _keep(self, event: Event) -> None:
        if not self._events:
            self._output.index = event.index  # a reader may begin where a run does
        self._events.append(event)
        if event.type in SOURCES and event.mark != "malformed":
            self._sources.setdefault((event.claim or 0, event.type, event.key), event)

    def _source(self, source: EventId) -> Any:
        event = self._sources.get(source)
        return event.value if event is not None else None

    def _rewound(self, event: Event) -> list[Telling]:
        self._output.add(event)
        self._rewinds[event.index] = min(rewound_to(event), event.index)
        self._fold = _Fold(self._source)
        for each in self._standing(event.index):
            self._fold.add(each)
        self.run, self.status = self._fold.run, self._fold.status
        return [Rewound(tuple(self._fold.conversation.messages))]

    def _standing(self, last: int) -> Iterable[Event]:
        spans = list(standing(self._rewinds, last))
        for event in self._events:
            stays = event.type in ("claim", "session") or any(low <= event.index <= high for low, high in spans)
            if stays and event.type != "rewind" and event.mark not in IGNORED:
                yield event


class _Fold:
    """What a history without rewinds tells."""

    def __init__(self, source: Any) -> None:
        self.run: str | None = None
        self.status: str | None = None
        self._items = Items(source)
        self.conversation = Conversation(self._items)
        self._questions = Questions()
        self._agent = ""
        self._error: dict[str, Any] | None = None
        self._result: Any = None
        self._usage: dict[str, dict[str, int]] = {}
        self._steps: dict[str, Event] = {}
        self._said: dict[str, list[str]] = {}
        """By the step that said them: ids of messages."""

    def add(self, event: Event) -> list[Telling]:
        kind = event.type
        if holds_items(event):
            self._hold(event)
            return []
        told = self._asked_or_answered(event)
        if kind == "run":
            return self._began(event)
        if kind == "status":
            return [*told, *self._stands(event)]
        if kind == "error" and text(event, "run") == self.run:
            self._error = event.value
        elif kind == "step":
            told += self._step(event)
        elif kind == "outcome":
            told += self._outcome(event)
        elif kind == "message":
            told += self._messages(event)
        elif kind == "tool_call":
            told += self._call(event)
        elif kind in ("custom", "state") or kind not in OWN_TYPES:
            value = whole_value(event) if kind == "state" else event.value
            told.append(Custom(kind, event.key, value))
        return told

    def _hold(self, event: Event) -> None:
        try:
            self._items.add(event.key, event.value["items"])
        except NotFound:
            return  # a key that is no item's id: nothing can refer to it

    # --- runs --------------------------------------------------------------------------------------------------------

    def _began(self, event: Event) -> list[Telling]:
        if text(event, "parent"):
            return []
        self.run, self._agent = event.key, text(event, "agent")
        self._forget()
        self.status = "running"
        return [self._told("began")]

    def _stands(self, event: Event) -> list[Telling]:
        if event.key != self.run:
            return []
        before, self.status = self.status, text(event, "status", "running")
        if self.status == before:
            return []
        keys = field(event, "questions")
        named = map(self._questions.named, keys if isinstance(keys, list) else ())
        asked = [question for question in named if question is not None]
        told = self._told(self.status, tuple(asked), text(event, "until") or None)
        self._forget()
        return [told]

    def _told(self, status: str, questions: tuple[Question, ...] = (), until: str | None = None) -> RunTold:
        return RunTold(
            run_name(self.run or ""), self._agent, status, self._result, self._error, questions, until, self._usage
        )

    def _forget(self) -> None:
        self._error, self._result, self._usage = None, None, {}

    # --- steps -------------------------------------------------------------------------------------------------------

    def _step(self, event: Event) -> list[Telling]:
        if StepKey.parse(event.key) is None:
            return []
        self._steps[event.key] = event
        began = StepTold(event.key, text(event, "kind"), text(event, "name"))
        return [*self._messages(event), began]

    def _outcome(self, event: Event) -> list[Telling]:
        if event.key == self.run:
            self._result = self._value(event)
            return []
        began = self._steps.pop(event.key, None)
        if began is None:
            return []
        error, usage = field(event, "error"), mapping(event, "usage")
        self._count(usage)
        kind = text(began, "kind")
        ended = StepTold(event.key, kind, text(began, "name"), True, error, usage, lambda: self._value(event))
        told: list[Telling] = [ended]
        if error is not None:
            told += [Delta(id, "text", "", True) for id in self._said.pop(event.key, ())]
        call = call_of(field(began, "input")) if kind == "tool" else None
        if call is not None and not field(event, "cancelled"):
            told.append(Result(call, self._value(event), error))
        return told

    def _value(self, event: Event) -> Any:
        return decoded(put_back(self._items.resolve(field(event, "result")), event), event)

    def _count(self, usage: dict[str, Any]) -> None:
        if not usage:
            return
        model = self._usage.setdefault(str(usage.get("model") or ""), {})
        for name, count in usage.items():
            if isinstance(count, int) and not isinstance(count, bool):
                model[name] = model.get(name, 0) + count

    # --- what is said ------------------------------------------------------------------------------------------------

    def _messages(self, event: Event) -> list[Telling]:
        told: list[Telling] = []
        for number, message in enumerate(self.conversation.add(event)):
            if message["role"] == "system":
                continue  # a prompt is between the program and the model
            id = message.get("id") or (event.key if event.type == "message" else f"{event.key}.{number}")
            message["id"] = id
            told.append(Said(id, message))
            if event.type == "message" and "#" in event.key:
                self._said.setdefault(event.key.rpartition("/")[0], []).append(id)
        return told

    def _call(self, event: Event) -> list[Telling]:
        """A call that no message told."""
        value = whole_value(event)
        id = value.get("id") if isinstance(value, dict) else None
        if not isinstance(id, str) or id in self.conversation.calls:
            return []
        part = {**value, "type": "tool_call"}
        message = {"role": "assistant", "parts": [part]}
        self.conversation.calls[id] = message
        return [Said(event.key, message)]

    def _asked_or_answered(self, event: Event) -> list[Telling]:
        before = self._questions.by_key.get(text(event, "question")) if event.type == "answer" else None
        had = before.answer if before is not None else None
        self._questions.see(event)
        if event.type == "question" and event.key in self._questions.by_key:
            step = self._steps.get(event.key)
            return [Asked(self._questions.by_key[event.key], call_of(field(step, "input")))]
        if before is not None and before.answer is not None and had is None:
            return [Answered(before)]
        return []


def text_id(kind: str, target: str) -> str:
    """What a message's text is called in what is sent: its reasoning is a text of its own."""
    return f"{target}:reasoning" if kind == "reasoning" else target


def plain(value: Any) -> Any:
    """A decoded value as JSON: what has no form of its own there is in the codec's."""
    return codec.encode(value).data
