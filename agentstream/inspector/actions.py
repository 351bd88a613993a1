"""What the page does to a store: forks a session, answers a question. Each can be typed as a command line as well."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agentstream.backends.driving import adrive
from agentstream.errors import AgentStreamError
from agentstream.inspector.documents.cutting import Cutter
from agentstream.inspector.failures import failure
from agentstream.inspector.requests import Failed
from agentstream.sessions.diff import diff
from agentstream.sessions.edits import Misfit, first_outcome, other_input, other_message, other_outcome, recorded_result
from agentstream.sessions.ids import checked_id
from agentstream.sessions.log import locate
from agentstream.sessions.naming import find_step

if TYPE_CHECKING:
    from agentstream.inspector.service import Inspector
    from agentstream.sessions.state import State


class Edit(msgspec.Struct):
    """What a fork has otherwise: a step's outcome, a user's message, or the input of the last run."""

    kind: Literal["outcome", "message", "input"]
    value: Any
    step: int | str | None = None
    index: int | None = None
    run: str | None = None


class ForkRequest(msgspec.Struct, rename="camel"):
    """As the page asks for a fork."""

    session: str
    new_id: str = msgspec.field(name="as", default="")
    at: int | None = None
    edit: Edit | None = None
    note: str | None = None
    untyped: bool = False
    dry_run: bool = False


class AnswerRequest(msgspec.Struct):
    """As the page answers a question."""

    session: str
    question: str
    value: Any
    by: str | None = None


class Cut(msgspec.Struct):
    """Where a fork is cut, and what stands there instead of what was recorded."""

    at: int
    recorded: Any = None
    given: Any = None
    replaced: dict[str, Any] = {}
    message: tuple[str, Any] | None = None


async def fork(inspector: Inspector, asked: ForkRequest) -> dict[str, Any]:
    """Makes a fork, or says (`dry_run`) what it would be and what is wrong with it."""
    told = (await inspector.sessions.current(asked.session)).told
    state = told.state if asked.edit is None else told.readable()
    new_id = asked.new_id or await suggested(inspector, asked.session)
    if asked.dry_run:
        return await _tried(inspector, asked, state, new_id)
    if asked.edit is not None and asked.edit.kind == "input":
        raise Failed(400, "invalid", "another input takes a run: ask for the job `fork` with the agent's MODULE:AGENT")
    cut = cut_of(state, asked)
    source = inspector.client.session(asked.session)
    await source.fork(new_id, None if cut.replaced else cut.at, replace=cut.replaced or None)
    branch = inspector.client.session(new_id)
    if cut.message is not None:
        await branch.append("message", cut.message[1], key=cut.message[0])
    if asked.note:
        told = await branch.state()
        await branch.append("session", {"tags": {**told.tags, "note": asked.note}})
    name = shlex.quote(new_id)
    return {
        "id": new_id,
        "at": cut.at,
        "source": asked.session,
        "command": inspector.typed(fork_arguments(asked, new_id)),
        "next": [inspector.typed(["resume", new_id, "MODULE:AGENT"]), f"agentstream diff {name}"],
    }


async def answer(inspector: Inspector, asked: AnswerRequest) -> dict[str, Any]:
    """Answers a question. AnswerRefused where it does not count."""
    event = await inspector.client.session(asked.session).answer(asked.question, asked.value, by=asked.by)
    return {"index": event.index}


def cut_of(state: State, asked: ForkRequest) -> Cut:
    """Where the fork is cut. `Misfit` and NotFound say what is wrong with an edit."""
    edit = asked.edit
    if edit is None:
        at = state.index if asked.at is None else asked.at
        if not 0 <= at <= state.index:
            raise Failed(
                404, "not_found", f"session {state.session!r} has {state.index} events; there is no cut at {at}"
            )
        return Cut(at)
    if edit.kind == "outcome":
        step = _step(state, edit.step)
        value = other_outcome(step, edit.value, untyped=asked.untyped, where="the outcome")
        if step.outcome is None:
            raise Misfit(f"{step.name} has no outcome that could be another one", hint="fork before it, and resume")
        return Cut(first_outcome(state, [step.key]), recorded_result(step), edit.value, {step.key: value})
    if edit.kind == "message":
        if edit.index is None:
            raise Failed(400, "invalid", "index says which message is another one")
        other = other_message(state, edit.index, edit.value, untyped=asked.untyped, where="the message")
        return Cut(other.at, state.events[edit.index].value, other.form, message=(other.key, other.value))
    run = state.run
    names = list(run.arguments) if run is not None else []
    call = other_input(state, edit.value, names, untyped=asked.untyped, where="the input")
    return Cut(call.at, run.encoded_arguments if run is not None else None, call.form)


async def _tried(inspector: Inspector, asked: ForkRequest, state: State, new_id: str) -> dict[str, Any]:
    told: dict[str, Any] = {"ok": True, "at": asked.at, "id": new_id, "problem": None, "diff": []}
    told["command"] = inspector.typed(fork_arguments(asked, new_id))
    try:
        cut = cut_of(state, asked)
        told["at"] = cut.at
        if asked.edit is not None:
            told["diff"] = Cutter().cut(diff(cut.recorded, cut.given))[0]
        if await _taken(inspector, checked_id(new_id)):
            raise Failed(409, "session_exists", f"there is a session {new_id!r} already", "give another id")
    except (AgentStreamError, ValueError, TypeError, Failed) as error:
        told |= {"ok": False, "problem": failure(error)[1]["error"]}
    return told


def fork_arguments(asked: ForkRequest, new_id: str) -> list[str]:
    """The fork as it is typed."""
    edit = asked.edit
    source = asked.session + (f"@{asked.at}" if edit is None and asked.at is not None else "")
    looks_like_an_option = source.startswith("-")
    arguments = ["fork", *([] if looks_like_an_option else [source]), "--as", new_id]
    if edit is not None:
        value = json.dumps(edit.value, ensure_ascii=False)
        if edit.kind == "outcome":
            step = f"step:{edit.step}" if isinstance(edit.step, int) else str(edit.step)
            arguments += ["--set-outcome", f"{step}={value}"]
        elif edit.kind == "message":
            arguments += ["--set-message", f"{edit.index}={value}"]
        else:
            arguments += ["--set-input", value, "--run", edit.run or "MODULE:AGENT"]
    if asked.untyped:
        arguments.append("--untyped")
    if asked.note:
        arguments += ["--note", asked.note]
    return [*arguments, "--", source] if looks_like_an_option else arguments


async def suggested(inspector: Inspector, session: str) -> str:
    """An id for a fork that nobody has."""
    number = 1
    while True:
        name = f"{session}-branch" + (f"-{number}" if number > 1 else "")
        if not await _taken(inspector, name):
            return name
        number += 1


async def _taken(inspector: Inspector, session: str) -> bool:
    return await adrive(locate(session), inspector.core.backend) is not None


def _step(state: State, named: int | str | None) -> Any:
    if isinstance(named, int) and not isinstance(named, bool):
        if not 0 <= named < len(state.steps):
            raise Failed(404, "not_found", f"session {state.session!r} has no step:{named}")
        return state.steps[named]
    return find_step(state, named or "")
