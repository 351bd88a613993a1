"""What was said in a session, whole: its messages, and what stands only in what models were asked.

A model's client records what the model answers as messages; what users and tools said to it stands in the requests. So
each request is laid beside what is known: an answer, a call and a result are known by their ids, a text by itself, in
order. What is not known was said since then. The same said twice (by a framework, and by the client below it) counts
once.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from agentstream.sessions.attachments import Attachment
from agentstream.sessions.conversions.claude import is_line, left_out, parts_of_line
from agentstream.sessions.conversions.parts import (
    Message,
    Part,
    arguments_object,
    file_of,
    kind_of,
    message,
    parts_of,
    result_text,
    role_of,
    text_of,
)
from agentstream.sessions.conversions.requests import Reader, Request
from agentstream.sessions.large import whole_value
from agentstream.sessions.steps import error_line, field, text

if TYPE_CHECKING:
    from agentstream.sessions.events import Event
    from agentstream.sessions.items import Items
    from agentstream.sessions.state import State, Step

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_CALL_IDS = ("call_id", "tool_call_id", "id")


def conversation(state: State) -> list[Message]:
    """The messages of a session in order, each in the form of `parts.py`, with the time it was recorded at."""
    told, _ = _told(state)
    results = [_result(call, step) for call, step in _steps_of_calls(state, told)]
    return [*told.leading(), *told.messages, *results]


def placed_conversation(state: State) -> list[tuple[int | None, Message]]:
    """The messages of a session, each with the event that told it first; a result of a step stands where that ended.

    None of a system prompt, which leads: any of the requests may have told it.
    """
    told, places = _told(state)
    found: list[tuple[int, Message]] = [(places[id(said)], said) for said in told.messages]
    for call, step in _steps_of_calls(state, told):
        if step.outcome is not None:
            found.append((step.outcome.index, _result(call, step)))
    found.sort(key=lambda each: each[0])
    return [*((None, said) for said in told.leading()), *found]


def _told(state: State) -> tuple[Conversation, dict[int, int]]:
    """What was said, but for results of steps, and the indexes of the events that said it first, by message."""
    told = Conversation(state.items)
    places: dict[int, int] = {}
    left = left_out(state)
    for event in state.of_type("message", "step"):
        if event.index in left:
            continue
        if event.type == "step" or not _failed(state, event.key.rpartition("/")[0]):
            for said in told.add(event):
                places.setdefault(id(said), event.index)
    return told, places


def _failed(state: State, step: str) -> bool:
    """Whether this is the attempt of a step that failed: nobody got what it said."""
    outcome = state.find("outcome", step) if "#" in step else None
    return field(outcome, "error") is not None


def _steps_of_calls(state: State, told: Conversation) -> list[tuple[str, Step]]:
    """The calls that no message answers, and their steps: those that were keyed by such an id and have ended."""
    missing = told.calls.keys() - told.results.keys()
    found: dict[str, Step] = {}
    for step in state.steps if missing else ():
        if step.kind != "tool" or step.outcome is None or (step.error is None and step.status != "finished"):
            continue
        call = call_of(step.input)
        if call is not None and call in missing:
            found[call] = step
    return list(found.items())


def _result(call: str, step: Step) -> Message:
    """What a tool's step gave, as a message says it."""
    failed = {"content": error_line(step.error), "is_error": True} if step.error is not None else None
    return message("tool", [{"type": "tool_result", "id": call, **(failed or {"content": step.result})}])


def call_of(asked: Any) -> str | None:
    """The id of the call that a tool's step was made for, which its input names."""
    found = next((asked[name] for name in _CALL_IDS if name in asked), None) if isinstance(asked, dict) else None
    return found if isinstance(found, str) else None


class Conversation:
    """What is known to have been said so far. It is given a session's events in their order."""

    def __init__(self, items: Items) -> None:
        """`items` are those of the session, at least of the events that were given."""
        self._reader = Reader(items)
        self._fresh: list[Message] = []
        self.messages: list[Message] = []
        self.system: list[Message] = []
        self.calls: dict[str, Message] = {}
        """By its id: the message with the call."""
        self.results: dict[str, Part] = {}
        self._given: set[tuple[str, str]] = set()
        """Every result that was told, by its call and text."""
        self._ids: dict[str, tuple[Message, str]] = {}
        """By its id: a message, and the step that said it."""
        self._renamed: dict[str, str] = {}
        """Ids of calls that a framework told the model in the place of those it had given."""
        self._spoken: dict[Any, list[int]] = {}
        """Where a text or file was said, as numbers that grow."""
        self._count = 0
        self._last_answer = -1
        self._thoughts: dict[str, Part] = {}
        self._walked: tuple[list[Any], list[int]] = ([], [])
        """The elements of the last request, and how far each had brought it."""

    def add(self, event: Event) -> list[Message]:
        """Takes the next event; what was said by it that was not known: messages, and those that were told anew."""
        self._fresh = []
        if event.type == "message":
            self._message(whole_value(event), event.timestamp, event.key.partition("#")[0] if "#" in event.key else "")
        elif event.type == "step" and text(event, "kind") == "model":
            request = self._reader.request(event)
            if request is not None:
                self._request(request, event.timestamp)
        return self._fresh

    def leading(self) -> list[Message]:
        """The system prompt of the last request, but for what stands among the messages."""
        known = {_key(part, "system") for said in self.messages if said["role"] == "system" for part in said["parts"]}
        return [said for said in self.system if any(_key(part, "system") not in known for part in said["parts"])]

    # --- messages ----------------------------------------------------------------------------------------------------

    def _message(self, value: Any, timestamp: str | None, step: str) -> None:
        """Takes a recorded message; `step` is the one that said it."""
        parts = parts_of(value)
        if not parts:
            return
        if is_line(value):
            parts = parts_of_line(parts)
        given = value if isinstance(value, dict) else {}
        role, id = role_of(given), given.get("id")
        before, earlier = self._ids.get(id, (None, "")) if isinstance(id, str) and id else (None, "")
        another = bool(step and earlier and step != earlier)  # a model that gives each of its answers one id
        if before is not None and before["role"] == role and not another:
            told = self._taken(before, parts)
            before["parts"] = [*before["parts"], *told] if is_line(given) else told
            self._fresh.append(before)
            return
        if self._said_just_now(role, parts):
            return
        made = self._add(role, parts, timestamp, id=id, model=given.get("model"))
        if isinstance(id, str):
            self._ids[id] = made, step

    def _said_just_now(self, role: str, parts: list[Part]) -> bool:
        """Whether the same was told in another way: by a request, or by a framework above the model's client."""
        calls = [part for part in parts if kind_of(part) == "tool_call" and isinstance(part.get("id"), str)]
        if calls:
            known = all(self._is_known(call) for call in calls)
            for part in parts if known else ():
                self._enrich(part)
            return known
        if role == "tool":
            for part in parts:
                if kind_of(part) == "tool_result" and isinstance(part.get("id"), str) and part["id"] in self.results:
                    self.results[part["id"]].update(part)
                    parts = [other for other in parts if other is not part]
            return not parts
        last = self.messages[-1] if self.messages else None
        if last is None or last["role"] != role:
            return False
        ours, theirs = ([_key(part, role) for part in each if _is_spoken(part)] for each in (last["parts"], parts))
        return bool(theirs) and ours == theirs

    def _add(self, role: str, parts: list[Part], timestamp: str | None, **more: Any) -> Message:
        made = message(role, [], timestamp=timestamp, **more)
        self.messages.append(made)
        made["parts"] = self._taken(made, parts)
        self._fresh.append(made)
        return made

    def _taken(self, of: Message, parts: list[Part]) -> list[Part]:
        role = of["role"]
        copies = [dict(part) for part in parts]
        for part in copies:
            kind, id = kind_of(part), part.get("id")
            if kind == "tool_call" and isinstance(id, str):
                if self.calls.get(id, of) is not of:
                    self.results.pop(id, None)  # a server that uses its ids again
                self.calls[id] = of
            elif kind == "tool_result" and isinstance(id, str):
                part["id"] = id = self._renamed.get(id, id)
                self.results[id] = part
                self._given.add((id, _squeezed(result_text(part))))
            elif kind == "reasoning":
                self._thoughts.update(dict.fromkeys(_thoughts(part), part))
            else:
                self._spoken.setdefault(_key(part, role), []).append(self._count)
                self._count += 1
        if role == "assistant":
            self._last_answer = self._count
            self._count += 1
        return copies

    # --- requests ----------------------------------------------------------------------------------------------------

    def _request(self, request: Request, timestamp: str | None) -> None:
        """Takes what a model was asked: what of it is not known is said now."""
        system = request.system
        names = request.names
        end = _after_last_answer(request)
        known, reached = self._walked
        place = next(
            (at for at, (a, b) in enumerate(zip(names, known, strict=False)) if a != b), min(len(names), len(known))
        )
        place = min(place, end)
        pointer = reached[place - 1] if place else 0
        passed = reached[:place]
        held: list[Part] = []
        heads = not place
        for at in range(place, len(names)):
            for said in request.messages(at):
                role = said["role"]
                heads = heads and role == "system"
                if heads:
                    system = [*system, said]
                    continue
                fresh, pointer, held = self._unknown(said, pointer, held, last=at >= end)
                if fresh:
                    self._add(role, fresh, timestamp)
                    pointer = self._count
            passed.append(pointer)
        self._walked = (names, passed)
        if system:
            self.system = system

    def _unknown(
        self, said: Message, pointer: int, held: list[Part], *, last: bool
    ) -> tuple[list[Part], int, list[Part]]:
        """The parts of a message that are not known, how far those that are bring it, and the thoughts that belong to
        what comes next."""
        role = said["role"]
        fresh: list[Part] = []
        for part in said["parts"]:
            if kind_of(part) == "reasoning":
                if not self._known_thought(part):
                    held.append(part)
                continue
            known, pointer = self._known(part, role, pointer, held, last=last)
            if not known:
                fresh += [*held, part]
            held = []
        return fresh, pointer, held

    def _known(self, part: Part, role: str, pointer: int, held: list[Part], *, last: bool) -> tuple[bool, int]:
        """Whether a part is known, and how far it brings what was asked. `last`: no answer comes behind it in there, so
        what a user said before the last answer is another time that it is said."""
        kind, id = kind_of(part), part.get("id")
        if kind == "tool_call":
            if id in self.calls:
                self._enrich(part)
                self._insert(held, self.calls[id], id)
            return id in self.calls or self._is_renamed(part), pointer
        if kind == "tool_result":
            id = self._renamed.get(str(id), str(id))
            return id in self.results or (id, _squeezed(result_text(part))) in self._given, pointer
        key = _key(part, role)
        if not key[-1]:
            return True, pointer
        found = self._find(key, pointer)
        if found is None or (last and role != "assistant" and found < self._last_answer):
            return False, pointer
        return True, found + 1

    def _is_known(self, call: Part) -> bool:
        asked = (call.get("name"), arguments_object(call))
        said = self.calls[call["id"]]["parts"] if call["id"] in self.calls else ()
        same = (part for part in said if kind_of(part) == "tool_call" and part.get("id") == call["id"])
        return any((part.get("name"), arguments_object(part)) == asked for part in same)

    def _is_renamed(self, part: Part) -> bool:
        """Whether this is a call that is known by another id: the same in all else, and without a result."""
        asked = (part.get("name"), arguments_object(part))
        for id in self.calls.keys() - self.results.keys() - set(self._renamed.values()):
            same = (each for each in self.calls[id]["parts"] if kind_of(each) == "tool_call" and each.get("id") == id)
            if any((each.get("name"), arguments_object(each)) == asked for each in same):
                self._renamed[part["id"]] = id
                return True
        return part["id"] in self._renamed

    def _find(self, key: Any, pointer: int) -> int | None:
        places = self._spoken.get(key, [])
        at = bisect_left(places, pointer)
        return places[at] if at < len(places) else None

    def _known_thought(self, part: Part) -> bool:
        known = next((self._thoughts[name] for name in _thoughts(part) if name in self._thoughts), None)
        if known is not None:
            known.update({name: value for name, value in part.items() if value})
        return known is not None

    def _insert(self, held: list[Part], of: Message, call: str) -> None:
        """Thoughts that nobody had told, before the call that they led to."""
        parts: list[Part] = of["parts"]
        at = next((at for at, part in enumerate(parts) if part.get("id") == call), len(parts))
        parts[at:at] = held

    def _enrich(self, part: Part) -> None:
        """What a second telling of a call says beside what the first said."""
        of = self.calls.get(part.get("id", ""))
        for known in of["parts"] if of is not None else ():
            if kind_of(known) == kind_of(part) and known.get("id") == part.get("id"):
                known.update({name: value for name, value in part.items() if name not in known})


def _after_last_answer(request: Request) -> int:
    for at in range(len(request.names) - 1, -1, -1):
        if any(said["role"] == "assistant" for said in request.messages(at)):
            return at + 1
    return 0


def _squeezed(text: str) -> str:
    """A text as it is compared: frameworks trim texts, and give thoughts back in tags to who did not think them."""
    return "".join((_THOUGHT.sub("", text) if "<think" in text else text).split())


def _is_spoken(part: Part) -> bool:
    return kind_of(part) not in ("reasoning", "tool_call", "tool_result")


def _key(part: Part, role: str) -> Any:
    """What a part is known by: who said it, and what it is."""
    who = role if role in ("assistant", "system") else "user"
    kind = kind_of(part)
    if kind == "text":
        return who, _squeezed(text_of(part))
    if kind == "file":
        return who, "file", _file_name(part)
    data = part.get("data")
    if isinstance(data, dict) and isinstance(data.get("id"), str):
        return who, "data", data["id"]
    return who, "data", repr(data)


def _file_name(part: Part) -> str:
    attached = part.get("file")
    if isinstance(attached, Attachment):
        return attached.sha256
    file = file_of(part)
    if file is None:
        return repr(part)
    return file.url or file.id or sha256(file.read()).hexdigest()


def _thoughts(part: Part) -> list[str]:
    """What a thought is known by."""
    names = [part.get(name) for name in ("signature", "redacted", "encrypted", "id")]
    found = [name for name in names if isinstance(name, str) and name]
    squeezed = _squeezed(text_of(part))
    return [*found, squeezed] if squeezed else found
