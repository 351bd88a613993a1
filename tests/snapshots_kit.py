"""Snapshots of short sessions: written when a test says so, and looked for although the session has one page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from agentstream import Client
from agentstream.agents.runs import fruitless_claims
from agentstream.agents.work import failures
from agentstream.backends.base import Backend
from agentstream.backends.driving import drive
from agentstream.errors import NotFound
from agentstream.sessions.answering import open_questions
from agentstream.sessions.events import SCHEMA
from agentstream.sessions.log import Log, open_log
from agentstream.sessions.saving import write
from agentstream.sessions.settling import unknown_steps
from agentstream.sessions.state import Run, State, Step, fold


def opened(backend: Backend, session: str, *, lazy: bool = True) -> Log:
    """The session's log, from its snapshot on if there is one (unless not `lazy`)."""
    log = drive(open_log(session, backend=backend if lazy else None), backend)
    assert log is not None
    return log


def snapshot(backend: Backend, session: str) -> Log:
    """Writes a snapshot of the session as it is; returns the log it was made of."""
    log = opened(backend, session)
    assert drive(write(log), backend) is not None
    return log


Look = Callable[[State], Any]


def looks(whole: State) -> dict[str, Look]:
    """Everything that can be asked of a state, by what it is asked for; `whole` says which names there are."""
    runs = {run.id: run.key for run in whole.runs.values()} | {"none": "none"}
    names = {(event.type, event.key) for event in whole.events} | {("run", "none"), ("status", "none")}
    sources = {(event.claim or 0, event.type, event.key) for event in whole.events}
    found: dict[str, Look] = {
        "index": lambda state: (len(state.events), state.index),
        "events": lambda state: [(event, event.mark, event.value) for event in state.events],
        "reversed": lambda state: [event.index for event in reversed(state.events)],
        "slice": lambda state: (state.events[1:-1], state.events[-2:], state.events[:-2:-1], state.events[0]),
        "labels": lambda state: (state.title, state.tags, state.schema, state.lineage, state.inherited, state.births),
        "claims": lambda state: (state.highest_claim, state.claim, state.last_rewind),
        "runs": lambda state: _runs(state.runs.values()),
        "last run": lambda state: (_runs([state.run] if state.run else []), state.status),
        "open runs": lambda state: _runs(state.open_runs),
        "steps": lambda state: _steps(state.steps),
        "attempts": lambda state: state.attempts,
        "said": lambda state: (state.messages, state.tool_calls),
        "usage": lambda state: state.usage,
        "questions": lambda state: [(q.key, q.status, q.answers) for q in state.questions.values()],
        # of runs that there are: no worker asks without one
        "open questions": lambda state: [
            (q.key, q.status, q.answers) for q in open_questions(state) if q.run.partition("/")[0] in runs
        ],
        "unknown": lambda state: _steps(unknown_steps(state)),
        "fruitless": lambda state: [fruitless_claims(state, run.key) for run in state.open_runs],
        "failures": lambda state: [failures(state, run) for run in state.open_runs],
        "find": lambda state: [state.find(*name) for name in sorted(names)],
        "types": lambda state: [state.of_type(kind) for kind in sorted({kind for kind, _ in names})],
        "late": lambda state: state.of_type("message", "outcome", start=state.index // 2),
        "sources": lambda state: [state.sources.first(source) for source in sorted(sources)],
    }
    for id, key in runs.items():
        found[f"run {id}"] = lambda state, id=id: _runs(run for run in [state.find_run(id)] if run)
        found[f"runs below {id}"] = lambda state, key=key: _runs(state.runs_below(key))
        found[f"steps of {id}"] = lambda state, key=key: _steps(state.steps_of(key))
        found[f"attempts of {id}"] = lambda state, key=key: _of(key, state.attempts_of(key))
    return found


def _runs(runs: Iterable[Run]) -> Any:
    return [
        (run.id, run.agent, run.status, run.start, run.parent, run.outcome, run.error, run.arguments, run.result)
        for run in runs
    ]


def _steps(steps: Iterable[Step]) -> Any:
    return [
        (
            step.run,
            step.lane,
            step.ordinal,
            step.attempts,
            _tried(lambda s=step: s.input),
            _tried(lambda s=step: s.result),
        )
        for step in steps
    ]


def _tried(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except NotFound as error:
        return str(error)


def _of(run: str, attempts: dict[tuple[str, str, int], int]) -> Any:
    return {name: n for name, n in attempts.items() if name[0] == run or name[0].startswith(run + "/")}


def same(backend: Backend, session: str, at: int | None = None) -> bool:
    """Checks that a session is the same with its snapshot and without; whether there was one to use."""
    log, whole = opened(backend, session), opened(backend, session, lazy=False)
    assert (log.size, log.offset, log.closed, log.incarnation, log.stitched) == (
        whole.size,
        whole.offset,
        whole.closed,
        whole.incarnation,
        whole.stitched,
    )
    expected = fold(whole, at)
    for name, look in looks(expected).items():
        # each of a state that has read nothing yet: the answers must not hang on an order
        assert look(fold(opened(backend, session), at)) == look(expected), name
    return log.head is not None


def client_over(backend: Backend) -> Client:
    """A client that has read nothing yet."""
    return Client(backend)


def birth(name: str, session: str = "s") -> dict[str, Any]:
    return {"schema": SCHEMA, "session": session, "incarnation": name}
