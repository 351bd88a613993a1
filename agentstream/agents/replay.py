"""Replay: agent code run offline while every step is served from the journal.

The record is read whole first. Then nothing is executed: no operation, no socket, no tool.
The code either goes the recorded way to its end, or the report names the first place where
it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from agentstream.agents.agent import Arguments
from agentstream.agents.divergence import Divergence, compare
from agentstream.agents.journal import Journal
from agentstream.agents.locations import raised_at
from agentstream.agents.outcomes import RecordedError
from agentstream.agents.replay_live import Ran, live_of, run_on
from agentstream.agents.replay_matching import KeepGoing, Ordered, lanes_for
from agentstream.agents.replay_options import Asked, ReplayOptions, asked
from agentstream.agents.replay_tries import tried
from agentstream.agents.replay_watch import Stopped, Watch
from agentstream.agents.runs import call_agent, named_run, runnable
from agentstream.agents.stops import Stop
from agentstream.agents.worker import Worker
from agentstream.errors import Diverged, ReplayOffline
from agentstream.sessions import codec
from agentstream.sessions.fingerprints import VARIABLE
from agentstream.sessions.large import fetch, fetch_call
from agentstream.sessions.secrets import in_text
from agentstream.sessions.state import Run, State, fold

if TYPE_CHECKING:
    from agentstream.agents.agent import AgentSpec
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.prices import Cost
    from agentstream.sessions.redaction import Rules


__all__ = ["Asked", "ReplayOptions", "Report", "asked", "replay"]


class Report(msgspec.Struct, frozen=True):
    """What a replay found.

    `identical`: the code went the recorded way as far as the replay went. `result` is what
    it returned (None if it did not come to its end), `steps` how many recorded steps it was
    served of the `recorded` ones, `divergence` the first disagreement, `notes` what else a reader should know.
    `unsure` is how many calls agree only in what was recorded of them: something was taken out
    (`Client(redact=…)`), and the key that it could be compared by is not here.

    - `stopped`: where `until=` or `break_=` ended it.
    - `divergences`: with `keep_going=True` all of them; `drifts`: calls that `match="ordered"` served though their
      input differs.
    - `fork`, `made`, `estimate`, `refused`: of a replay that ran on (`live_from=`), the session it ran on in, how many
      steps it made, what the record lets expect of their cost, and the call that was not allowed. `identical` then
      says whether the fork came out as its source did.
    - `tries`: with `repeat=` each replay's report; `passed`: how many of them `check` held for.
    """

    identical: bool
    result: Any
    steps: int
    divergence: Divergence | None = None
    notes: tuple[str, ...] = ()
    error: Exception | None = None
    unsure: int = 0
    recorded: int = 0
    returned: bool = False
    stopped: Stopped | None = None
    divergences: tuple[Divergence, ...] = ()
    drifts: tuple[Divergence, ...] = ()
    fork: str | None = None
    made: int = 0
    estimate: Cost | None = None
    refused: str | None = None
    tries: tuple[Report, ...] = ()
    passed: int | None = None

    def __str__(self) -> str:
        lines = [self._head()]
        found = self.divergences or ((self.divergence,) if self.divergence is not None else ())
        lines += map(str, found)
        lines += (f"served in spite of it: {drift}" for drift in self.drifts)
        if self.passed is not None:
            lines.append(f"{self.passed} of {max(len(self.tries), 1)} passed")
        return "\n".join([*lines, *self.notes])

    def _head(self) -> str:
        if self.fork is not None:
            how = "as recorded" if self.identical else "otherwise than recorded"
            end = f"came out {how}" if self.returned else "did not come to its end"
            return f"{self.steps} steps served from the record, {self.made} made in {self.fork!r}; it {end}"
        return f"{'identical' if self.identical else 'diverged'}: {self.steps} steps served from the record"


class _Replayed(msgspec.Struct, frozen=True):
    """The call to replay: the recorded one, or one with another input."""

    run: Run
    arguments: Arguments | None = None


class _End(msgspec.Struct):
    """How the code ended."""

    result: Any = None
    data: Any = None
    returned: bool = False
    error: Exception | None = None
    divergence: Divergence | None = None
    notes: list[str] = msgspec.field(default_factory=list)


def replay(core: Core, session: str, function: Any, asked: Asked, *, in_loop: bool) -> Steps[Report]:
    """`session.replay`: runs `function` against the record of a run. Raises NotFound if there is no such run."""
    return tried(asked, lambda number: _once(core, session, function, asked, number, in_loop=in_loop))


def _once(core: Core, session: str, function: Any, asked: Asked, number: int, *, in_loop: bool) -> Steps[Report]:
    if asked.live_from is None:
        return (yield from _offline(core, session, function, asked, in_loop=in_loop))
    state = fold((yield from core.require(session)))
    start = _until(state, named_run(state, asked.run), asked.live_from, "live_from")
    live = live_of(asked, start if start is not None else 0, number)
    return live_report((yield from run_on(core, session, function, live, in_loop=in_loop)))


def live_report(ran: Ran) -> Report:
    """The report of a replay that ran on."""
    return Report(
        ran.same,
        ran.result,
        ran.served,
        ran.diverged.divergence if ran.diverged is not None else None,
        tuple(ran.notes),
        ran.error,
        recorded=ran.recorded,
        returned=ran.returned,
        fork=ran.fork,
        made=ran.made,
        estimate=ran.estimate,
        refused=ran.refused,
    )


def _offline(core: Core, session: str, function: Any, asked: Asked, *, in_loop: bool) -> Steps[Report]:
    spec = runnable(function, in_loop=in_loop)
    log = yield from core.require(session)
    state = fold(log)
    recorded = named_run(state, asked.run)
    worker = Worker(core, session, state, recorded.key, sync=not spec.is_async, in_loop=in_loop)
    watch = worker.watch = Watch(asked.break_, _until(state, recorded, asked.until), asked.on_break)
    worker.lanes = lanes_for(worker, asked.match, keep_going=asked.keep_going)
    worker.journal.forgiving = asked.keep_going
    plan = _Replayed(recorded, _other_input(spec, recorded, asked.input, core.rules))
    yield from _read_whole(worker, recorded)
    end = yield from _go(worker, spec, plan)
    ended = end.returned or end.error is not None
    if end.divergence is None:
        end.divergence = _compare_ends(worker, recorded, end)
    every: tuple[Divergence, ...] = ()
    if isinstance(worker.lanes, KeepGoing):
        every = tuple(worker.lanes.differences(whole=ended))
        if end.divergence is not None and (ended or not every):
            every = (*every, end.divergence)
        end.divergence = every[0] if every else None
    if recorded.agent != spec.name:
        end.notes.append(f"the run was recorded with agent {recorded.agent!r}, replayed with {spec.name!r}")
    unsure = len(worker.lanes.unsure)
    if unsure:
        end.notes.append(
            f"{unsure} calls hold values that were not recorded and cannot be compared: they were made under another "
            f"${VARIABLE}, the file of it beside the store is gone, or they were taken out as the session was exported"
        )
    redacted = next((birth.redacted for _, birth in worker.state.births if birth.redacted is not None), None)
    if redacted is not None and end.divergence is not None:
        end.notes.append(
            f"the session was redacted as it was exported (rules {redacted!r}): where the code itself holds what was "
            "taken out, replay it with these rules, by Client(redact=…) or $AGENTSTREAM_REDACT"
        )
    watch.end()
    end.notes += watch.notes
    return Report(
        end.divergence is None,
        end.result,
        len(worker.served),
        end.divergence,
        tuple(end.notes),
        end.error,
        unsure,
        len(worker.journal.entries),
        end.returned,
        watch.stopped,
        every,
        tuple(worker.lanes.drifts) if isinstance(worker.lanes, Ordered) else (),
    )


def _read_whole(worker: Worker, run: Run) -> Steps[None]:
    """Reads what the record keeps in blobs, where they are on another machine: the replay opens no connection."""
    if worker.core.backend.traits.lists:
        return
    yield from fetch_call(run)
    yield from fetch(run)
    _ = run.arguments, run.result  # they keep what they were read as
    for entry in worker.journal.entries:
        if entry.step is not None and entry.served:
            yield from fetch(entry.step)
            _ = entry.step.result


def _go(worker: Worker, spec: AgentSpec, plan: _Replayed) -> Steps[_End]:
    try:
        value, data, _ = yield from call_agent(worker, spec, plan)
        return _End(value, data, returned=True)
    except Stop as stop:
        if isinstance(stop.error, Diverged):
            return _End(divergence=worker.divergence)
        if isinstance(stop.error, ReplayOffline):
            return _End(notes=[str(stop.error)])
        raise stop.error from stop.__cause__
    except Exception as error:
        return _End(error=error)


def _compare_ends(worker: Worker, run: Run, end: _End) -> Divergence | None:
    """The divergence if the code ended otherwise than the run did."""
    if not end.returned and end.error is None:
        return None  # it stopped on the way, where asked to or where the record ends
    before = worker.before(None)
    number = worker.journal.index(None)
    if end.error is not None:
        now = RecordedError.of(end.error, worker.core.rules)
        actual = {"name": now.name, "text": now.text}
        if run.status == "finished":
            return compare(before, number, "0", "raised", run.encoded_result, actual, raised_at(end.error))
        if run.error is None:
            end.notes.append(f"the run is {run.status} in the record; the code raised {now.name} where the record ends")
            return None
        then = RecordedError.read(run.error)
        recorded = {"name": then.name, "text": then.text}
        return (
            None
            if recorded == actual
            else compare(before, number, "0", "raised", recorded, actual, raised_at(end.error))
        )
    if run.status == "failed" and run.error is not None:
        if not _retriable_end(worker):
            return compare(before, number, "0", "did_not_raise", run.error, end.data)
        return None
    if run.status == "finished" and _differ(worker, end.data, run.encoded_result):
        return compare(before, number, "0", "different_output", run.encoded_result, end.data)
    if run.status != "finished":
        end.notes.append(f"the run is {run.status} in the record; the code came to its end without another step")
    return None


def _differ(worker: Worker, now: Any, recorded: Any) -> bool:
    """Whether two results differ; the recorded one may be from before there were rules."""
    if codec.fingerprint(now) == codec.fingerprint(recorded):
        return False
    after = worker.core.rules.form(recorded, "result")
    return codec.fingerprint(in_text(now)) != codec.fingerprint(in_text(after))


def _retriable_end(worker: Worker) -> bool:
    """Whether the record ends with an error that a resume would try again: then another end is no surprise."""
    return any(entry.outcome is not None and not entry.observed for entry in worker.journal.entries)


def _other_input(spec: AgentSpec, run: Run, input: Any, rules: Rules) -> Arguments | None:
    """The call with another input: a mapping goes by parameter name over the recorded call, a tuple by place,
    anything else is the first argument."""
    if input is None:
        return None
    if isinstance(input, tuple):
        return spec.bind(input, {}, rules)
    parameters = spec.signature.parameters
    if not isinstance(input, Mapping) or not set(input) <= set(parameters):
        first = next(iter(parameters.values()), None)
        if first is None or first.kind is first.VAR_KEYWORD:
            raise TypeError(f"agent {spec.name!r} takes no input")
        input = {first.name: [input] if first.kind is first.VAR_POSITIONAL else input}
    made = spec.of({**run.arguments, **input}, rules)
    return structs.replace(made, typed=made.typed or bool(run.start.value.get("typed")))


def _until(state: State, run: Run, until: Any, name: str = "until") -> int | None:
    """The number of the step before which the replay stops: a number, or the step that an Event is of."""
    if until is None:
        return None
    told = f"{name}= is the number of a step in the run, a step Event or a Position, not {until!r}"
    if isinstance(until, bool):
        raise TypeError(told)
    if isinstance(until, int):
        if until < 0:
            raise ValueError(f"{name}= counts the run's steps from 0, not {until}")
        return until
    index = getattr(until, "index", None)
    if not isinstance(index, int):
        raise TypeError(told)
    entries = Journal(state, run.key, replayed=True).entries
    return sum(entry.started.index < index for entry in entries)
