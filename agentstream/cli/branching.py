"""What a fork is going to be: made, or only told (`agentstream fork --dry-run`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstream.cli.failures import refusing_arguments

if TYPE_CHECKING:
    from agentstream import Session
    from agentstream.cli.edits import Wanted
    from agentstream.cli.output import Output
    from agentstream.cli.positions import Place
    from agentstream.sessions.edits import Input, Message
    from agentstream.sessions.state import State, Step


@dataclass(frozen=True, slots=True)
class Plan:
    """A cut, as `session.fork` takes it, and what is put in there. `state`: the source, if it had to be read."""

    at: Any
    kept: int
    outcomes: dict[str, Any]
    other: Input | Message | None = None
    state: State | None = None


def planned(source: Session, place: Place | None, wanted: Wanted, *, read: bool) -> Plan:
    """What is asked for. Without an edit, and unless it is to be `read`, a cut by number needs no reading."""
    from agentstream.cli.edits import edits, step_named
    from agentstream.cli.positions import index_of

    if place is not None and place.kind in ("at", "exact") and not wanted.anything and not read:
        return Plan(place.exact or place.number, place.number, {})
    state = source.state()
    at: Any = None
    if place is not None:
        at = place.exact or (place.number if place.kind == "at" else index_of(place, state))
    if wanted.edited_step is not None:  # nobody edits what cannot be put in
        _kept(source, at, {step_named(state, wanted.edited_step).key: None}, state)
    found = edits(state, wanted)
    if found.other is not None:
        return Plan(found.other.at, found.other.at, {}, found.other, state)
    if found.outcomes:
        kept = _kept(source, at, found.outcomes, state)
        return Plan(kept, kept, found.outcomes, None, state)
    if at is None:
        at = state.index  # what was read, also if more came since
    return Plan(at, _cut(state, at), {}, None, state)


def _kept(source: Session, at: Any, outcomes: dict[str, Any], state: State) -> int:
    """How many events are kept where these outcomes are put in."""
    from agentstream.sessions.forking import replacements

    with refusing_arguments():
        return replacements(state, at, outcomes, source._core.rules)[0]


def _cut(state: State, at: Any) -> int:
    from agentstream.sessions.cuts import index_in

    with refusing_arguments():
        return index_in(state, at)


def made(source: Session, new_id: str | None, plan: Plan) -> str:
    """Makes the fork and returns its id: one that nobody has, where None is asked for."""
    from agentstream.errors import SessionExists
    from agentstream.sessions.edits import Message

    while True:
        name = new_id if new_id is not None else free_name(source)
        try:
            with refusing_arguments():
                source.fork(name, plan.at, replace=plan.outcomes or None)
            break
        except SessionExists:
            if new_id is not None:
                raise  # else somebody was faster: to the next name
    if isinstance(plan.other, Message):
        _session(source, name).append("message", plan.other.value, key=plan.other.key)
    return name


def free_name(source: Session) -> str:
    """An id for a fork that nobody has."""
    from agentstream.sessions.forking import free_id

    with refusing_arguments():
        return source._drive(free_id(source.id))


def check_name(source: Session, new_id: str) -> None:
    """Refuses an id that a fork cannot have, before anything else is done."""
    from agentstream.sessions.forking import exists
    from agentstream.sessions.ids import checked_id
    from agentstream.sessions.log import locate

    with refusing_arguments():
        checked_id(new_id)
    if source._drive(locate(new_id)) is not None:
        raise exists(new_id)


def _session(source: Session, name: str) -> Session:
    return type(source)(source._core, name)


# --- told ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replaced:
    """What is put in, beside what it takes the place of: `what` names it as the command line does."""

    what: str
    name: str
    key: str
    changes: list[dict[str, Any]]


def tell(output: Output, source: Session, new_id: str, plan: Plan, run: str | None, note: str | None) -> None:
    """What the fork would be: its cut, what is kept, what is replaced. `plan` was read."""
    state = plan.state
    assert state is not None
    replaced = _replaced(source, state, plan)
    steps = sum(step.outcome is not None for step in state.cut(plan.kept).steps)
    if output.form == "json":
        data: dict[str, Any] = {"dry_run": True, "id": new_id, "source": source.id, "at": plan.kept}
        data |= {"events": state.index, "steps": {"kept": steps, "all": len(state.steps)}}
        data["replaced"] = [{"what": each.what, "key": each.key, "diff": each.changes} for each in replaced]
        output.document("fork", {**data, "note": note, "run": run})
    elif output.terminal:
        _tell_person(output, source, new_id, plan, (steps, len(state.steps)), state.index, replaced, run)
    else:
        _tell_pipe(output, source, new_id, plan, replaced)


def _tell_pipe(output: Output, source: Session, new_id: str, plan: Plan, replaced: list[Replaced]) -> None:
    from agentstream.cli.values import compact

    output.fields([new_id, source.id, str(plan.kept)])
    for each in replaced:
        for change in each.changes:
            was, now = (compact(change[name]) if name in change else "" for name in ("was", "value"))
            output.fields([each.what, each.key, change["path"], was, now])


def _tell_person(
    output: Output,
    source: Session,
    new_id: str,
    plan: Plan,
    steps: tuple[int, int],
    events: int,
    replaced: list[Replaced],
    run: str | None,
) -> None:
    from agentstream.cli.changes import print_change
    from agentstream.cli.text import clean

    output.line(f"{output.paint(clean(new_id), 'bold')}  would be a fork of {clean(source.id)}@{plan.kept}")
    output.line(f"keeps {plan.kept} of {events} events, {steps[0]} of {steps[1]} steps")
    for each in replaced:
        output.line(output.paint(clean(f"~ {each.what}  {each.name}").rstrip(), "yellow"))
        for change in each.changes:
            print_change(output, change, max(output.width - 30, 40))
        if not each.changes:
            output.line("    as it was recorded")
    if run is not None:
        output.line(f"and {clean(run)} would go on with it")


def _replaced(source: Session, state: State, plan: Plan) -> list[Replaced]:
    from agentstream.sessions.diff import diff
    from agentstream.sessions.edits import Input, Message
    from agentstream.sessions.large import put_back
    from agentstream.sessions.naming import outcome_value
    from agentstream.sessions.views.values import resolved_value

    if isinstance(plan.other, Message):
        event = state.events[plan.other.at]
        was = put_back(resolved_value(event, state.items), event)
        return [Replaced(f"message {plan.other.at}", "", plan.other.key, diff(was, plan.other.form))]
    if isinstance(plan.other, Input) and state.run is not None:
        changes = _below("/input", diff(state.run.encoded_arguments, plan.other.form))
        return [Replaced("input", state.run.agent, state.run.key, changes)]
    found: list[Replaced] = []
    for number, step in enumerate(state.steps):
        if step.key in plan.outcomes:
            now = outcome_value(plan.outcomes[step.key], step.key, source._core.rules)
            now.pop("typed", None)  # how it is stored, and not what it says
            changes = _below("/outcome", diff(_outcome(step), now))
            found.append(Replaced(f"step:{number}", f"{step.kind} {step.name}", step.key, changes))
    return found


def _outcome(step: Step) -> dict[str, Any]:
    from agentstream.sessions.edits import recorded_result

    if step.status == "failed":
        return {"error": step.error}
    return {"result": recorded_result(step)} if step.status == "finished" else {}


def _below(path: str, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**change, "path": path + change["path"]} for change in changes]
