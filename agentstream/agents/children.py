"""Child runs: an agent called by another, in the same session and under the same claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.agents.calls import START_WITHIN
from agentstream.agents.context import Lane, current_lane, enter, leave
from agentstream.agents.generators import Left, passed_on
from agentstream.agents.journal import ROOT
from agentstream.agents.observing import observed
from agentstream.agents.outcomes import RecordedError
from agentstream.backends.driving import Call

if TYPE_CHECKING:
    from agentstream.agents.agent import AgentSpec, Arguments
    from agentstream.agents.journal import Entry
    from agentstream.agents.worker import Worker
    from agentstream.backends.driving import Steps


def child_run(spec: AgentSpec, args: tuple[Any, ...], kwargs: dict[str, Any], *, in_loop: bool) -> Steps[Any]:
    """Runs `spec` as a child of the calling run: one place in the lane, and lanes of its own."""
    lane = current_lane()
    assert lane is not None
    worker = lane.worker
    worker.check()
    arguments = spec.bind(args, kwargs, worker.core.rules)
    call = ("agent", spec.name, arguments.fingerprint)
    entry = yield from worker.lanes.place(lane, call, arguments.data, in_loop=in_loop)
    assert lane.entry is not None
    key = _begin(worker, lane, entry, spec, arguments)
    call_args, call_kwargs = spec.call(arguments.data, arguments.typed)
    token = enter(Lane(worker, key, lane, lane.owner, worker.journal.lane(key, ROOT)))
    try:
        with observed(worker, key, spec.name):
            result = yield Call(lambda: spec.function(*call_args, **call_kwargs))
        value, data, typed = spec.returned(result, worker.core.rules)
    except Exception as error:
        _end(worker, key, "failed", {"error": RecordedError.of(error, worker.core.rules).stored()})
        raise
    finally:
        leave(token)
    _end(worker, key, "finished", {"result": data, **({"typed": True} if typed else {})})
    return value


def child_items(spec: AgentSpec, args: tuple[Any, ...], kwargs: dict[str, Any], *, in_loop: bool) -> Steps[Any]:
    """As `child_run`, of a generator agent: what it yields is its caller's, as it comes."""
    lane = current_lane()
    assert lane is not None
    assert spec.generator is not None
    worker = lane.worker
    worker.check()
    arguments = spec.bind(args, kwargs, worker.core.rules)
    call = ("agent", spec.name, arguments.fingerprint)
    entry = yield from worker.lanes.place(lane, call, arguments.data, in_loop=in_loop)
    key = _begin(worker, lane, entry, spec, arguments)
    call_args, call_kwargs = spec.call(arguments.data, arguments.typed)
    child = Lane(worker, key, lane, lane.owner, worker.journal.lane(key, ROOT))
    try:
        result = yield from passed_on(spec.generator(*call_args, **call_kwargs), child)
        value, data, typed = spec.returned(result, worker.core.rules)
    except Left:
        _end(worker, key, "cancelled", {})  # its caller has enough of it, and goes on
        raise
    except Exception as error:
        _end(worker, key, "failed", {"error": RecordedError.of(error, worker.core.rules).stored()})
        raise
    _end(worker, key, "finished", {"result": data, **({"typed": True} if typed else {})})
    return value


def _begin(worker: Worker, lane: Lane, entry: Entry | None, spec: AgentSpec, arguments: Arguments) -> str:
    if entry is not None:
        return entry.started.key
    assert lane.entry is not None
    if worker.replaying:
        return f"{lane.run}/{lane.entry.id}/{lane.cursor - 1}#0"
    key = str(worker.next_attempt(lane.run, lane.entry.id, lane.cursor - 1))
    worker.put("run", key, run_value(spec, arguments, parent=lane.run), packed="arguments", within=START_WITHIN)
    worker.put("status", key, {"status": "running"})
    return key


def run_value(
    spec: AgentSpec, arguments: Arguments, parent: str | None = None, trace: str | None = None
) -> dict[str, Any]:
    """The stored value of a `run` event."""
    return {
        "agent": spec.name,
        "arguments": arguments.data,
        "fingerprint": str(arguments.fingerprint),
        **({"typed": True} if arguments.typed else {}),
        **({"parent": parent} if parent is not None else {}),
        **({"trace": trace} if trace is not None else {}),
        **({"entry": spec.entry} if parent is None and spec.entry is not None else {}),
    }


def _end(worker: Worker, key: str, status: str, value: dict[str, Any]) -> None:
    if worker.replaying or worker.poison is not None or worker.ended:
        return
    run = next((run for run in worker.state.runs_below(worker.run) if run.key == key), None)
    if run is not None and run.status == status and status in ("finished", "cancelled"):
        return
    if status == "finished":
        worker.put("outcome", key, value, packed="result")
    elif status == "failed":
        worker.put("error", f"{key}!{worker.claim.number if worker.claim else 0}", {"run": key, **value["error"]})
    worker.put_status(key, status)
