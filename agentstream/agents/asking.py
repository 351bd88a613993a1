"""Asking people: questions with typed answers.

A question is a step like any other: its outcome, the answer, is recorded and served ever
after. Until then it stands in the log as a `question` event, and the run needs no process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from agentstream.agents.calls import StepCall
from agentstream.agents.opening import backend_here, opening
from agentstream.agents.waiting import Parked, Room, required_lane, room_of
from agentstream.backends.driving import adrive, drive
from agentstream.errors import NotSerializable, QuestionExpired
from agentstream.sessions import codec, moments, schemas
from agentstream.sessions.answering import plain
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.questions import Answer, Question

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

T = TypeVar("T")

Expires = float | timedelta | datetime | None


class Form(msgspec.Struct, frozen=True):
    """What is asked: the step's name and input, the `question` event's value, and how its answer becomes a value."""

    name: str
    input: dict[str, Any]
    question: dict[str, Any]
    expires: datetime | None
    rebuild: Callable[[Any], Any]
    """Raises ValueError for an answer that it cannot take."""


# --- the public face -------------------------------------------------------------------------------------------------


@overload
def ask(prompt: str, *, expires: Expires = None) -> Any: ...
@overload
def ask(prompt: str, *, schema: type[T], expires: Expires = None) -> T: ...
@overload
def ask(prompt: str, *, choices: Iterable[T], expires: Expires = None) -> T: ...
@overload
def ask(prompt: str, *, schema: Any = None, choices: Iterable[Any] | None = None, expires: Expires = None) -> Any: ...
def ask(prompt: str, *, schema: Any = None, choices: Iterable[Any] | None = None, expires: Expires = None) -> Any:
    """Asks a person and returns the answer; for plain agents (async ones: `await aask(…)`).

    A run whose lanes all wait ends with RunWaiting and holds neither process nor lease. It goes
    on when `session.run` or `resume` is called after `session.answer(question, value)`.

    - `schema`: what the answer is: a pydantic model or any annotation (the answer is rebuilt as
      one), or a JSON schema as a dict (the answer stays plain).
    - `choices`: the values to choose from; the chosen one is returned.
    - `expires`: seconds or a timedelta from now, or a datetime with a zone. Without an answer in
      time QuestionExpired is raised when the run goes on.
    """
    required_lane("ask", awaited=False)
    return drive(asking(_question(prompt, schema, choices, expires), in_loop=False), backend_here())


@overload
async def aask(prompt: str, *, expires: Expires = None) -> Any: ...
@overload
async def aask(prompt: str, *, schema: type[T], expires: Expires = None) -> T: ...
@overload
async def aask(prompt: str, *, choices: Iterable[T], expires: Expires = None) -> T: ...
@overload
async def aask(
    prompt: str, *, schema: Any = None, choices: Iterable[Any] | None = None, expires: Expires = None
) -> Any: ...
async def aask(
    prompt: str, *, schema: Any = None, choices: Iterable[Any] | None = None, expires: Expires = None
) -> Any:
    """As `ask`, for async agents. Several questions of concurrent tasks stand open at once."""
    required_lane("ask", awaited=True)
    return await adrive(asking(_question(prompt, schema, choices, expires), in_loop=True), backend_here())


# --- forms -----------------------------------------------------------------------------------------------------------


def _question(prompt: str, schema: Any, choices: Iterable[Any] | None, expires: Expires) -> Form:
    if not isinstance(prompt, str) or not prompt:
        raise ValueError(f"a question is a text that is not empty, not {prompt!r}")
    offered = list(choices) if choices is not None else None
    if offered is not None and not offered:
        raise ValueError("choices= is empty: nobody could answer")
    shown = [plain(choice, "a choice") for choice in offered] if offered is not None else None
    told, rebuild = _by_schema(schema)
    if offered is not None and shown is not None and schema is None:
        rebuild = _chosen(offered, shown)
    # what identifies the question; the schema is its form, which may be written otherwise by another pydantic
    input = {"prompt": prompt, **({"choices": shown} if shown is not None else {})}
    question = {**codec.encode(input).data, "kind": "question", **({"schema": told} if told is not None else {})}
    return Form("ask", input, question, moments.after(expires, "expires") if expires is not None else None, rebuild)


def _by_schema(schema: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The JSON schema that stands in the log, and what makes the typed value of an answer."""
    if schema is None:
        return None, lambda value: value
    if isinstance(schema, dict):
        return plain(schema, "schema="), lambda value: value
    from pydantic import TypeAdapter  # dear to import, and most processes ask nothing
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(schema)
        told = adapter.json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
        raise TypeError(f"schema={schema!r} is no type that pydantic knows a JSON schema of: {error}") from error
    return told, lambda value: adapter.validate_json(json.dumps(value))


def _chosen(offered: list[Any], shown: list[Any]) -> Callable[[Any], Any]:
    def rebuild(value: Any) -> Any:
        for choice, form in zip(offered, shown, strict=True):
            if schemas.same(form, value):
                return choice
        raise ValueError(f"{value!r} is none of the choices")

    return rebuild


# --- one question ----------------------------------------------------------------------------------------------------


def asking(form: Form, *, in_loop: bool) -> Steps[Any]:
    call = yield from opening("human", form.name, form.input, at=None, in_loop=in_loop)
    if (served := (yield from call.recorded())) is not None:
        return _rebuilt(form, served.value(), call)
    with call.underway():
        answer = yield from _answered(form, call)
    if isinstance(answer, QuestionExpired):
        yield from call.failing(answer, in_loop=in_loop)
        raise answer
    yield from call.finishing(answer.value, in_loop=in_loop)
    return _rebuilt(form, answer.value, call)


def _rebuilt(form: Form, value: Any, call: StepCall) -> Any:
    try:
        return form.rebuild(value)
    except ValueError as error:
        raise NotSerializable(
            f"the recorded answer to step {call.key} is not what is asked for now: {error}"
        ) from error


def _answered(form: Form, call: StepCall) -> Steps[Answer | QuestionExpired]:
    """The answer that counts and can be taken; waits for it."""
    room = room_of(call.worker)
    while True:
        question = room.questions.of_step(call.id.identity)
        if question is None or question.status == "closed" or not _is_of(call, question):
            yield from _put(form, call, room)
            continue
        answer = question.answer
        if answer is not None:
            objection = _objection(form, answer)
            if objection is None:
                return answer
            yield from _refuse(call, room, question, answer, objection)
        elif question.expires is not None and question.is_over(moments.now()):
            until = moments.text(question.expires)
            return QuestionExpired(f"nobody answered {question.prompt!r} until {until}", question=question.key)
        else:
            yield from room.park(Parked(call.lane, question=question.key))


def _is_of(call: StepCall, question: Question) -> bool:
    """Whether it is this call that asked: a branch with other code may ask something else in the same place."""
    return call.entry is not None or question.key == call.key


def _put(form: Form, call: StepCall, room: Room) -> Steps[None]:
    expires = {"expires": moments.text(form.expires)} if form.expires is not None else {}
    asked = call.rules.event("question", {**form.question, **expires})
    call.worker.put("question", call.key, asked)
    yield from call.worker.flush()
    yield from room.look()


def _objection(form: Form, answer: Answer) -> str | None:
    """Why the run cannot take an answer that fits the schema: a type may ask for more than a schema can say."""
    from pydantic_core import ValidationError

    try:
        form.rebuild(answer.value)
    except ValidationError as error:
        return "; ".join(str(problem["msg"]) for problem in error.errors(include_url=False))
    except ValueError as error:
        return str(error)
    return None


def _refuse(call: StepCall, room: Room, question: Question, answer: Answer, objection: str) -> Steps[None]:
    """Says in the log that an answer is invalid, so that the question is open again for everybody."""
    value = {
        "question": question.key,
        "refuses": answer.event.index,
        "reason": codec.encode(call.rules.text(objection)).data,
    }
    call.worker.put("answer", fresh_id(), value)
    yield from call.worker.flush()
    yield from room.look()
