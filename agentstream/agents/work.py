"""What there is to do in a session: pure, told by its log and the time.

A worker keeps nothing in its memory that a crash could lose: how often a run failed, when it
is due again and which message is unread are counted from the events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from agentstream.agents.agent import AgentSpec, Arguments
from agentstream.agents.runs import _Plan, fruitless_claims, open_run
from agentstream.errors import NotSerializable
from agentstream.sessions import moments
from agentstream.sessions.events import StepKey, run_key
from agentstream.sessions.family import Spawned, parent_of
from agentstream.sessions.large import whole_value
from agentstream.sessions.questions import questions_of
from agentstream.sessions.settling import unknown_steps
from agentstream.sessions.waits import Waits, has_come, user_messages, waits_of

if TYPE_CHECKING:
    from agentstream.sessions.events import Event
    from agentstream.sessions.redaction import Rules
    from agentstream.sessions.state import Run, State


@dataclass(frozen=True, slots=True)
class Policy:
    """Which sessions are looked after, with which agents (by name), and how patiently."""

    agents: Mapping[str, AgentSpec]
    match: re.Pattern[str]
    rules: Rules
    on_message: AgentSpec | None = None
    max_attempts: int = 10
    first_pause: float = 1.0
    longest_pause: float = 300.0
    """Seconds between the attempts of a run that fails: doubling, with jitter."""


@dataclass(frozen=True, slots=True)
class Task:
    """A run to be begun or gone on with now; `exhausted`: one to be given up."""

    why: str
    spec: AgentSpec
    plan: _Plan = field(repr=False)
    exhausted: bool = False
    child: Spawned | None = None


def glob(pattern: str) -> re.Pattern[str]:
    """Session ids that a pattern means: `*` is one segment or a part of it, `**` any number of them, `?` a character.

    Raises ValueError for an empty pattern.
    """
    if not isinstance(pattern, str) or not pattern:
        raise ValueError(f"match= is a pattern of session ids such as 'support/**', not {pattern!r}")
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.DOTALL)


def to_do(
    state: State, policy: Policy, now: datetime, *, child: Spawned | None = None, children: bool = False
) -> Task | datetime | None:
    """What is to be done now, or when to look again; None: nothing, until something is appended.

    That nobody works on the session is for the caller to know. `child`: how its parent called
    it, for a child. `children`: whether a child that the run waits for can go on or has ended.
    """
    run = open_run(state)
    if run is None:
        return _to_begin(state, policy, child)
    spec = policy.agents.get(run.agent)
    if spec is None or run.status == "exhausted" or not _anybody_was_here(state):
        return None
    if run.status == "waiting":
        return _waiting(state, run, spec, now, children=children)
    if unknown_steps(state):
        return None  # somebody has to say what came of them
    if run.status == "failed":
        return _failed(state, run, spec, policy, now)
    count, since = fruitless_claims(state, run.key), state.claim
    pause = _pause(policy, run.key, count - 1) if count > 1 else 0.0
    due = _after(moments.read(since.timestamp) if since is not None else None, pause)
    return due if due is not None and due > now else Task("abandoned", spec, _Plan(run.key, run))


def _anybody_was_here(state: State) -> bool:
    """A fork is left to whoever made it until a run is begun in it, or somebody says something to it."""
    if state.claim is not None:
        return True
    return any(event.claim is None and event.index >= state.inherited for event in state.of_type("answer", "message"))


def _waiting(state: State, run: Run, spec: AgentSpec, now: datetime, *, children: bool) -> Task | datetime | None:
    waits = waits_of(state, run)
    alone = Waits(waits.questions, waits.until, waits.inbox)
    come = (alone != Waits() or not waits.children) and has_come(
        state, alone, questions_of(state, state.first_of(run.key)), now
    )
    if come or (waits.children and children):
        return Task("what it waited for has come", spec, _Plan(run.key, run))
    # an answer is in time up to its last millisecond
    return max(waits.until, now) + timedelta(milliseconds=1) if waits.until is not None else None


def _failed(state: State, run: Run, spec: AgentSpec, policy: Policy, now: datetime) -> Task | datetime:
    count, last = failures(state, run)
    if count >= policy.max_attempts:
        return Task(f"failed {count} times", spec, _Plan(run.key, run), exhausted=True)
    due = _after(last, _pause(policy, run.key, count))
    return due if due is not None and due > now else Task(f"failed {count} times", spec, _Plan(run.key, run))


def failures(state: State, run: Run) -> tuple[int, datetime | None]:
    """How often in a row a run failed without a step that came off, and when it did last."""
    count, last = 0, None
    for event in reversed(state.since(state.first_of(run.key))):
        if event.mark is not None:
            continue
        if event.type == "status" and event.key == run.key and event.value.get("status") == "failed":
            count, last = count + 1, last or moments.read(event.timestamp)
        elif event.type == "rewind" or (event.type == "outcome" and _came_off(event, run)):
            break
    return count, last


def _came_off(event: Event, run: Run) -> bool:
    place = StepKey.parse(event.key)
    mine = place is not None and (place.run == run.key or place.run.startswith(run.key + "/"))
    return mine and "error" not in event.value


def _pause(policy: Policy, key: str, count: int) -> float:
    """Seconds before the next attempt: doubling, and each run's own within half of that: not all come at once."""
    whole = min(policy.longest_pause, policy.first_pause * 2.0 ** min(count - 1, 60))
    share = int.from_bytes(sha256(f"{key}#{count}".encode()).digest()[:4], "big") / 2**32
    return whole * (0.5 + share / 2)


def _after(moment: datetime | None, seconds: float) -> datetime | None:
    return moment + timedelta(seconds=seconds) if moment is not None else None


# --- what is begun ---------------------------------------------------------------------------------------------------


def _to_begin(state: State, policy: Policy, child: Spawned | None) -> Task | None:
    parent = parent_of(state)
    if parent is not None and parent.key not in state.runs:
        spec = policy.agents.get(child.agent) if child is not None else None
        if spec is None or child is None:
            return None
        arguments = Arguments(child.arguments, child.typed, child.fingerprint)
        return Task("a child that nobody began", spec, _Plan(run_key(child.run), None, arguments), child=child)
    spec = policy.on_message
    message = unread_message(state) if spec is not None else None
    if spec is None or message is None:
        return None
    try:
        arguments = spec.bind((said(message),), {}, policy.rules)
    except (TypeError, NotSerializable):
        return None  # refused when the worker was made
    return Task("a message", spec, _Plan(run_key(message_run(message)), None, arguments))


def message_run(message: Event) -> str:
    """The id of the run that a message begins: so each begins one, whoever sees it first."""
    return f"message {message.key}"


def unread_message(state: State) -> Event | None:
    """The first message of a person that began no run and that no `inbox()` read."""
    read = [step.result for step in state.steps if (step.kind, step.name) == ("human", "inbox")]
    upto = max((each["upto"] for each in read if isinstance(each, dict) and type(each.get("upto")) is int), default=0)
    begun = state.inherited if state.lineage is not None else 0
    fresh = user_messages(state.of_type("message"), max(upto, begun))
    return next((each for each in fresh if _of_user(each) and message_run(each) not in state.runs), None)


def _of_user(message: Event) -> bool:
    return isinstance(message.value, dict) and message.value.get("role", "user") == "user"


def said(message: Event) -> str:
    """The text of a message: its text parts, or what stands under `text` or `content`."""
    value = whole_value(message)
    parts: Any = value.get("parts") if isinstance(value, dict) else None
    if isinstance(parts, list):
        texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type", "text") == "text"]
        return "\n".join(text for text in texts if isinstance(text, str))
    for name in ("text", "content"):
        if isinstance(value, dict) and isinstance(value.get(name), str):
            return value[name]
    return ""
