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
from agentstream.agents.outcomes import RecordedError
from agentstream.agents.runs import call_agent, named_run, runnable
from agentstream.agents.stops import Stop
from agentstream.agents.worker import Worker
from agentstream.errors import Diverged, ReplayOffline
from agentstream.sessions import codec
from agentstream.sessions.fingerprints import VARIABLE
from agentstream.sessions.large import fetch
from agentstream.sessions.state import Run, State, fold

if TYPE_CHECKING:
    from agentstream.agents.agent import AgentSpec
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.redaction import Rules


class Report(msgspec.Struct, frozen=True):
    """What a replay found.

    `identical`: the code went the recorded way as far as the replay went. `result` is what
    it returned (None if it did not come to its end), `steps` how many recorded steps it was
    served, `divergence` the first disagreement, `notes` what else a reader should know.
    `unsure` is how many calls agree only in what was recorded of them: something was taken out
    (`Client(redact=…)`), and the key that it could be compared by is not here.
    """

    identical: bool
    result: Any
    steps: int
    divergence: Divergence | None = None
    notes: tuple[str, ...] = ()
    error: Exception | None = None
    unsure: int = 0

    def __str__(self) -> str:
        lines = [f"{'identical' if self.identical else 'diverged'}: {self.steps} steps served from the record"]
        if self.divergence is not None:
            lines.append(str(self.divergence))
        return "\n".join([*lines, *self.notes])


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


def replay(
    core: Core, session: str, function: Any, *, run: str | None, input: Any, until: Any, in_loop: bool
) -> Steps[Report]:
    """`session.replay`: runs `function` against the record of a run. Raises NotFound if there is no such run."""
    spec = runnable(function, in_loop=in_loop)
    log = yield from core.require(session)
    state = fold(log)
    recorded = named_run(state, run)
    stop = _until(state, recorded, until)
    worker = Worker(core, session, state, recorded.key, until=stop, sync=not spec.is_async, in_loop=in_loop)
    plan = _Replayed(recorded, _other_input(spec, recorded, input, core.rules))
    yield from _read_whole(worker, recorded)
    end = yield from _go(worker, spec, plan)
    if end.divergence is None:
        end.divergence = _compare_ends(worker, recorded, end)
    if recorded.agent != spec.name:
        end.notes.append(f"the run was recorded with agent {recorded.agent!r}, replayed with {spec.name!r}")
    unsure = len(worker.lanes.unsure)
    if unsure:
        end.notes.append(
            f"{unsure} calls hold values that were not recorded and cannot be compared: they were made under another "
            f"${VARIABLE}, or the file of it beside the store is gone"
        )
    notes = tuple(end.notes)
    return Report(end.divergence is None, end.result, len(worker.served), end.divergence, notes, end.error, unsure)


def _read_whole(worker: Worker, run: Run) -> Steps[None]:
    """Reads what the record keeps in blobs, where they are on another machine: the replay opens no connection."""
    if worker.core.backend.traits.lists:
        return
    yield from fetch(run, call=True)
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
            return compare(before, number, "0", "raised", run.encoded_result, actual, _raised_at(end.error))
        if run.error is None:
            end.notes.append(f"the run is {run.status} in the record; the code raised {now.name} where the record ends")
            return None
        then = RecordedError.read(run.error)
        recorded = {"name": then.name, "text": then.text}
        return (
            None
            if recorded == actual
            else compare(before, number, "0", "raised", recorded, actual, _raised_at(end.error))
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
    return codec.fingerprint(now) != codec.fingerprint(worker.core.rules.form(recorded, "result"))


def _retriable_end(worker: Worker) -> bool:
    """Whether the record ends with an error that a resume would try again: then another end is no surprise."""
    return any(entry.outcome is not None and not entry.observed for entry in worker.journal.entries)


def _raised_at(error: Exception) -> str | None:
    trace = error.__traceback__
    place = None
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if not name.startswith("agentstream"):
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno} in {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return place


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


def _until(state: State, run: Run, until: Any) -> int | None:
    """The number of the step before which the replay stops: a number, or the step that an Event is of."""
    if until is None:
        return None
    if isinstance(until, bool):
        raise TypeError(f"until= is the number of a step in the run, a step Event or a Position, not {until!r}")
    if isinstance(until, int):
        if until < 0:
            raise ValueError(f"until= counts the run's steps from 0, not {until}")
        return until
    index = getattr(until, "index", None)
    if not isinstance(index, int):
        raise TypeError(f"until= is the number of a step in the run, a step Event or a Position, not {until!r}")
    steps = [step for step in state.steps if step.run == run.key or step.run.startswith(run.key + "/")]
    return sum(step.last.start.index < index for step in steps)
