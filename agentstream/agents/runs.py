"""Running an agent in a session: decide, claim, run, finish.

The whole of `session.run` is one generator. It reads the session, decides what the call
means (a new run, an open one that goes on, a finished one), takes the session with a
claim, decides again on what the log then says, and calls the agent's function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents.agent import AgentSpec, Arguments, spec_of
from agentstream.agents.children import run_value
from agentstream.agents.context import enter, leave, run_open
from agentstream.agents.generators import passed_on
from agentstream.agents.observing import observed
from agentstream.agents.options import Options
from agentstream.agents.outcomes import RecordedError
from agentstream.agents.saying import end_places, tell_rest
from agentstream.agents.stops import Stop
from agentstream.agents.worker import Worker
from agentstream.agents.writer import Writer
from agentstream.backends.driving import Call
from agentstream.errors import (
    BlobLost,
    NotFound,
    RunCancelled,
    RunExhausted,
    RunPending,
)
from agentstream.sessions.attachments import attachments_from
from agentstream.sessions.claims import release, under_claim, win
from agentstream.sessions.events import Event, run_key
from agentstream.sessions.family import cancel_children, own_open_runs
from agentstream.sessions.fingerprints import agree
from agentstream.sessions.history import reading
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.large import fetch, fetch_call
from agentstream.sessions.packing import RECALLED
from agentstream.sessions.state import Run, State, fold
from agentstream.sessions.waits import refuse_while_waiting
from agentstream.sessions.writing import open_or_create

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.log import Log


class _Plan(msgspec.Struct, frozen=True):
    """What a call means in a session: the run it is, and whether that is done already, goes on, or is new."""

    key: str
    run: Run | None = None
    arguments: Arguments | None = None

    @property
    def finished(self) -> bool:
        return self.run is not None and self.run.status == "finished"


# --- the public operations -------------------------------------------------------------------------------------------


def run(
    core: Core,
    session: str,
    options: Options,
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    in_loop: bool,
) -> Steps[Any]:
    """`session.run`: a new run, or the open one that this same call began."""
    spec = spec_of(function)
    if spec.generator is not None:
        raise TypeError(f"agent {spec.name!r} is a generator: iterate over session.stream({spec.name}, …)")
    spec = runnable(function, in_loop=in_loop)
    return (yield from run_call(core, session, options, spec, spec.bind(args, kwargs, core.rules), in_loop=in_loop))


def run_call(
    core: Core, session: str, options: Options, spec: AgentSpec, arguments: Arguments, *, in_loop: bool
) -> Steps[Any]:
    """One call of an agent in a session, whatever is done with what it yields."""
    fresh = run_key(options.run_id) if options.run_id is not None else fresh_id()
    log = yield from open_or_create(core, session)

    def plan_for(state: State) -> _Plan:
        return _plan(state, spec, arguments, options, fresh)

    return (yield from _run(core, log, spec, options, plan_for, in_loop))


def resume(core: Core, session: str, options: Options, function: Any, *, in_loop: bool) -> Steps[Any]:
    """`session.resume`: the open run goes on with the recorded arguments."""
    spec = runnable(function, in_loop=in_loop)
    log = yield from core.require(session)
    return (yield from _run(core, log, spec, options, lambda state: _plan_resume(state, spec, options), in_loop))


def runnable(function: Any, *, in_loop: bool) -> AgentSpec:
    """The spec of a function that can be run here: an async one needs an event loop."""
    spec = spec_of(function)
    if spec.is_async and not in_loop:
        raise TypeError(f"agent {spec.name!r} is async: run it with `await AsyncClient(…).session(…).run(…)`")
    return spec


def cancel(core: Core, session: str, options: Options) -> Steps[bool]:
    """`session.cancel`: ends the open run and its children; False if there was none."""

    def build(state: State) -> list[dict[str, Any]] | None:
        return [
            {"kind": "status", "key": run.key, "value": {"status": "cancelled"}, "operation": "update"}
            for run in own_open_runs(state)
        ] or None

    done = yield from under_claim(core, session, build, take_over=options.take_over)
    yield from cancel_children(core, session)
    return done is not None


# --- deciding --------------------------------------------------------------------------------------------------------


def open_run(state: State) -> Run | None:
    """The run that is not anybody's child and can still go on."""
    return next((run for run in reversed(own_open_runs(state)) if run.parent is None), None)


def _plan(state: State, spec: AgentSpec, arguments: Arguments, options: Options, fresh: str) -> _Plan:
    going = open_run(state)
    if options.run_id is not None:
        named = state.find_run(options.run_id)
        if named is not None:
            _check_same(state, named, spec, arguments)
            return _go_on(state, named)
    if going is None:
        return _Plan(fresh, None, arguments)
    _check_same(state, going, spec, arguments)
    if options.run_id is not None:
        raise _pending(state, going)
    return _go_on(state, going)


def _plan_resume(state: State, spec: AgentSpec, options: Options) -> _Plan:
    going = state.find_run(options.run_id) if options.run_id is not None else open_run(state)
    if going is None:
        raise NotFound(f"session {state.session!r} has no open run to resume; session.run({spec.name}, …) begins one")
    if going.agent != spec.name:
        raise _pending(state, going)
    return _go_on(state, going)


def _go_on(state: State, run: Run) -> _Plan:
    if run.status == "cancelled":
        raise RunCancelled(f"session {state.session!r}: run {run.id!r} was cancelled; use another run_id to run again")
    if run.status == "exhausted":
        raise _exhausted(state, run)
    if run.status == "waiting":
        refuse_while_waiting(state, run)
    return _Plan(run.key, run)


def _check_same(state: State, run: Run, spec: AgentSpec, arguments: Arguments) -> None:
    if run.agent != spec.name or not agree(run.fingerprint, arguments.fingerprint):
        raise _pending(state, run)


def _pending(state: State, run: Run) -> RunPending:
    if run.open:
        way = f"is still open, and this is another call. session.resume({run.agent}) goes on with the recorded one, "
        way += "session.cancel() ends it"
    else:
        way = f"is {run.status}, and this is another call: give it a run_id of its own"
    return RunPending(
        f"session {state.session!r}: run {run.id!r} of {run.agent}({_shown(run.arguments)}) {way}",
        run=run.id,
        agent=run.agent,
        arguments=run.arguments,
    )


def _shown(arguments: dict[str, Any]) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return text if len(text) <= 200 else text[:200] + "…"


def _exhausted(state: State, run: Run) -> RunExhausted:
    return RunExhausted(
        f"session {state.session!r}: run {run.id!r} was begun again and again without a single step further. "
        "Look at its last events, then session.cancel() or session.rewind(at=…)"
    )


def fruitless_claims(state: State, key: str) -> int:
    """How many claims of this run in a row added no outcome, nor came to wait (in a fork, those of the fork alone)."""
    count = 0
    for event in state.since(max(state.inherited, state.first_of(key))):
        if event.mark == "fenced":
            continue
        if event.type == "claim" and event.value.get("run") == key:
            count += 1
        elif event.type == "rewind" or (event.type == "outcome" and event.claim is not None) or _came_to_wait(event):
            count = 0
    return count


def _came_to_wait(event: Event) -> bool:
    return event.type == "status" and event.value.get("status") == "waiting"


# --- running ---------------------------------------------------------------------------------------------------------


def _run(
    core: Core, log: Log, spec: AgentSpec, options: Options, plan_for: Callable[[State], _Plan], in_loop: bool
) -> Steps[Any]:
    session = log.session
    state = fold(log)
    plan = plan_for(state)
    if plan.finished:
        return (yield from _finished(core, state, spec, plan, in_loop))
    claim = yield from win(log, run=plan.key, take_over=options.take_over)
    writer: Writer | None = None
    try:
        state = fold(log)
        plan = plan_for(state)  # what came in between counts
        if plan.finished:
            return (yield from _finished(core, state, spec, plan, in_loop))
        yield from reading(state.events, min(state.first_of(plan.key), state.index - RECALLED))
        writer = Writer(core.backend, session, claim)
        sync = not spec.is_async
        worker = Worker(core, session, state, plan.key, claim=claim, writer=writer, sync=sync, in_loop=in_loop)
        writer.stopped = worker.stop
        worker.behind = options.durability == "behind"
        worker.steering = options.steering or worker.steering
        with observed(worker, plan.key, spec.name, resumed=plan.run is not None):
            yield from _begin(worker, spec, plan, options)
            return (yield from _attend(worker, spec, plan))
    except Stop as stop:
        raise stop.error from stop.__cause__
    finally:
        if writer is not None:
            writer.close()
            core.grew(session, state.index + writer.written)
        yield from release(claim)


def _begin(worker: Worker, spec: AgentSpec, plan: _Plan, options: Options) -> Steps[None]:
    """Writes that the run begins or goes on; RunExhausted if it has gone on too often for nothing."""
    if plan.run is None:
        assert plan.arguments is not None
        worker.put("run", plan.key, run_value(spec, plan.arguments, trace=worker.trace), packed="arguments")
        worker.put("status", plan.key, {"status": "running"})
        yield from worker.flush()
    elif fruitless_claims(worker.state, plan.key) > options.max_attempts:
        worker.put_status(plan.key, "exhausted")
        yield from worker.flush()
        raise _exhausted(worker.state, plan.run)
    elif plan.run.status != "running":
        worker.put_status(plan.key, "running")


def _finished(core: Core, state: State, spec: AgentSpec, plan: _Plan, in_loop: bool) -> Steps[Any]:
    """What a run that has finished returned; what it yielded comes again from its record."""
    if spec.streams:
        worker = Worker(core, state.session, state, plan.key, sync=not spec.is_async, in_loop=in_loop)
        try:
            yield from call_agent(worker, spec, plan)
        except Stop as stop:
            raise stop.error from stop.__cause__
    run = plan.run
    assert run is not None
    value = run.outcome.value if run.outcome is not None else {}
    yield from fetch(run)
    with attachments_from(core.blobs):
        return spec.served(run.encoded_result, bool(value.get("typed")))


def _attend(worker: Worker, spec: AgentSpec, plan: _Plan) -> Steps[Any]:
    """Calls the agent's function and records how it ended."""
    try:
        value, data, typed = yield from call_agent(worker, spec, plan)
    except Exception as error:
        value = {"run": plan.key, **RecordedError.of(error, worker.core.rules).stored()}
        worker.put("error", f"{plan.key}!{worker.claim.number if worker.claim is not None else 0}", value)
        worker.put_status(plan.key, "failed")
        yield from worker.flush()
        raise
    worker.put("outcome", plan.key, {"result": data, **({"typed": True} if typed else {})}, packed="result")
    worker.put_status(plan.key, "finished")
    yield from worker.flush()
    return value


def call_agent(worker: Worker, spec: AgentSpec, plan: Any) -> Steps[tuple[Any, Any, bool]]:
    """Calls the function in the run's first lane; the result is checked against what the journal still holds.

    Whatever the function returned or raised, what stopped the run is raised instead.
    """
    arguments = plan.arguments
    if arguments is None and not worker.replaying:
        try:
            yield from fetch_call(plan.run)
        except BlobLost as error:
            raise worker.stop(error) from error
    encoded, typed = (arguments.data, arguments.typed) if arguments is not None else _recorded_call(plan.run)
    with attachments_from(worker.core.blobs):
        args, kwargs = spec.call(encoded, typed)
    token = enter(worker.root)
    try:
        with run_open(worker):
            result = yield Call(lambda: worker.call(spec, args, kwargs))
            if spec.streams and spec.function is spec.generator:
                result = yield from passed_on(result, worker.root, worker.interrupt)
        if worker.unplaced:
            tell_rest(worker)
        _leave_open_calls(worker)
    except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:
        worker.interrupt(error)
        raise
    except Exception:
        worker.raise_stop()
        _leave_open_calls(worker)
        raise
    except BaseException as error:
        worker.raise_stop()
        worker.interrupt(error)
        raise
    finally:
        worker.ended = True
        leave(token)
    worker.raise_stop()
    left = worker.journal.left()
    if left:
        call = left[0].call
        what = f"the code returned without calling {call[0]} {call[1]!r}, which was recorded"
        raise worker.diverge("missing_call", left[0], None, None, left[0].lane, what)
    with attachments_from(worker.core.blobs):
        return spec.returned(result, worker.core.rules)


def _leave_open_calls(worker: Worker) -> None:
    worker.leave_open_calls()
    if worker.telling:
        end_places(worker)


def _recorded_call(run: Run) -> tuple[Any, bool]:
    return run.encoded_arguments, bool(run.start.value.get("typed"))


def named_run(state: State, run_id: str | None) -> Run:
    """The run of this id, or the last one that is nobody's child; NotFound if there is none."""
    if run_id is not None and not isinstance(run_id, str):
        raise TypeError(f"run= is the id of a run, not {run_id!r}")
    run = state.find_run(run_id) if run_id is not None else state.run
    if run is None:
        raise NotFound(
            f"session {state.session!r} has no run" + (f" {run_id!r}" if run_id is not None else "") + " to replay"
        )
    return run
