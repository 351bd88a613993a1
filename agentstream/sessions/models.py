"""What each event's value holds, as pydantic models, and their JSON Schema.

The models describe what is written; reading asks less of a record (`counting.py` and
`steps.py` say how much) and keeps what it does not know: fields that are not named here are
allowed everywhere. `docs/events.schema.json` is `event_schema()`, written by
`python -m agentstream.sessions.models`. Nothing of the library imports this module.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.json_schema import models_json_schema

from agentstream.sessions.events import HIGHEST_CLAIM, OWN_TYPES, SCHEMA


class Model(BaseModel):
    """Fields that are not named are kept."""

    model_config = ConfigDict(extra="allow", strict=True)


class Worked(Model):
    """Written by a worker, under its claim's number."""

    claim: int = Field(ge=1, le=HIGHEST_CLAIM, description="the claim that it was written under")


class Position(Model):
    """A cut in the source's stream: a token of its keeper, and messages past it."""

    offset: str
    skip: int = Field(ge=0)


class Lineage(Model):
    """Where a fork comes from."""

    source: str = Field(description="the session's id")
    incarnation: str
    path: str = Field(description="the stream that holds it")
    count: int = Field(ge=0, description="how many events are shared")
    position: Position | None = None
    claim: int | None = Field(None, ge=0, description="the highest claim number among what is shared")
    replaced: list[str] | None = Field(None, description="keys of outcomes put in the place of recorded ones")
    copied: bool | None = None


class Compacted(Model):
    """The incarnation that this one goes on from, with what was still needed of it."""

    incarnation: str
    first: str = Field(description="the first incarnation of the row: children know the session by it")
    identity: list[str] = Field(description="what the identities of steps are made of")
    replaced: list[str] | None = Field(None, description="as a lineage's")
    lives: list[tuple[str, str | None]] | None = Field(None, description="every earlier incarnation, and its key's id")


class Session(Model):
    """Begins an incarnation (then `schema` and `incarnation` are there; the key is the incarnation), or labels it."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())

    schema_: int | None = Field(None, alias="schema", description="version of the stored format")
    session: str | None = Field(None, description="the id that the incarnation was made under")
    incarnation: str | None = None
    lineage: Lineage | None = None
    compacted: Compacted | None = None
    compacting: str | None = Field(None, description="the session goes on as this incarnation")
    title: str | None = None
    tags: dict[str, Any] | None = Field(None, description="each as last said; null takes one away")
    encrypted: str | None = Field(None, description="id of the key that the session is sealed with (~k/<id>)")
    keys: list[str] | None = Field(None, description="ids of other keys that seal content its events refer to")
    redacted: str | None = Field(None, description="the rules by which it was redacted as it left another store")


class Run(Worked):
    """A run begins. Its key is the run's id; a child run's has the form of a step's."""

    agent: str
    arguments: Any = Field(description="the call, by parameter name")
    fingerprint: str
    typed: bool | None = Field(None, description="a class instance was flattened; the annotation rebuilds it")
    parent: str | None = Field(None, description="key of the run that called it")
    trace: str | None = Field(None, description="the trace it was made in, as W3C's traceparent writes it")
    entry: str | None = Field(None, description="the agent's function, as module:qualified name")


class Status(Worked):
    """How a run stands; the one type that is updated. Key: the run's."""

    status: Literal["running", "waiting", "failed", "cancelled", "exhausted", "finished"]
    questions: list[str] | None = Field(None, description="keys of what a waiting run asks")
    until: str | None = Field(None, description="when a sleeping run wakes, RFC 3339")
    inbox: int | None = None


class Claim(Worked):
    """A worker takes the session. Key: `<number>.<nonce>`."""

    nonce: str
    run: str | None = Field(None, description="key of the run that it is taken for")


class Step(Worked):
    """An attempt of a call to the outside begins. Key: `<run>/<lane>/<ordinal>#<attempt>`."""

    claim: int | None = Field(None, ge=1, le=HIGHEST_CLAIM)  # pyright: ignore[reportIncompatibleVariableOverride]
    kind: str
    name: str
    input: Any = Field(
        None,
        description="by reference: {$items: [ranges of item ids]}, {$same: [claim, type, key, pointer]}, {$blob: {…}}",
    )
    fingerprint: str = ""
    effect: Literal["repeat", "once", "pure"] | None = None
    code: str | None = Field(None, description="the place in the code that made the call: file:line in function")
    idempotency_key: str | None = None
    result: Any = Field(None, description="of a step that is told when it is over: no outcome stands beside it")
    error: dict[str, Any] | None = Field(None, description="as result")

    @model_validator(mode="after")
    def _is_whole(self) -> Step:
        """What can be served is known by what it was called with; what tells of itself when it is over need not be."""
        if (
            self.model_fields_set.isdisjoint(("result", "error"))
            and not {"input", "fingerprint"} <= self.model_fields_set
        ):
            raise ValueError("a step says its input and fingerprint, or what came of it")
        return self


class Error(Model):
    """An exception: its class by name, its text, and what of it has a JSON form."""

    name: str
    text: str
    module: str | None = None
    args: list[Any] | None = None
    fields: Any | None = None


class Outcome(Worked):
    """What came of a step's attempt (same key), or of a run (the run's key)."""

    claim: int | None = Field(None, ge=1, le=HIGHEST_CLAIM)  # pyright: ignore[reportIncompatibleVariableOverride]
    result: Any = None
    error: Error | None = None
    cancelled: bool | None = None
    typed: bool | None = None
    usage: dict[str, Any] | None = Field(None, description="counts: input_tokens, output_tokens, …")
    resolved: bool | None = Field(None, description="a person said it")
    retried: bool | None = Field(None, description="the error was seen by nobody: another attempt followed at once")
    happened: bool | None = Field(None, description="the step was done, only its result could not be recorded")


class Rewind(Worked):
    """The session goes back: events from `to` up to this one do not count."""

    to: int = Field(ge=0)


class Message(Model):
    """What somebody said. By a user without a claim, by a worker with one."""

    claim: int | None = None
    role: str | None = None
    parts: list[Any] | None = Field(None, description="text, reasoning, tool_call, tool_result, file, data")


class Delta(Worked):
    """A piece of what is coming; the canonical event closes it. Key: `<step>/d<number>`.

    What an agent says outside its steps has the key `<run>/<lane>/<ordinal of the next step>~<claim>/d<number>`.
    """

    target: str
    kind: Literal["text", "reasoning", "args"]
    text: str
    attempt: int
    name: str | None = Field(None, description="of arguments: the tool, once for each call; `target` is the call's id")
    message: str | None = Field(None, description="beside `name`: the message that the call will be a part of")


class ToolCall(Worked):
    """A model asks for a tool."""

    id: str | None = None
    name: str | None = None
    arguments: Any = None


class Question(Worked):
    """A person is asked. Key: the step's, without its attempt."""

    prompt: str
    kind: str | None = None
    choices: list[Any] | None = None
    expires: str | None = None


class Answer(Model):
    """Somebody's answer to a question, or a worker's refusal of one."""

    claim: int | None = None
    question: str
    value: Any = None
    by: Any = None
    refuses: int | None = None
    reason: str | None = None


class Item(Worked):
    """Elements of lists, stored once. Key: the id of the first, `<claim>.<number>`; the others follow it."""

    items: list[Any] | dict[Literal["$items"], list[str]] = Field(
        description="the elements; or {$items: [ranges of item ids]}, which get ids in a row beside their own"
    )


class State(Worked):
    """Application state, in any form."""


class RunError(Error, Worked):
    """A run raised. Key: `<run>!<claim>`."""

    run: str


class Checkpoint(Worked):
    """A graph's checkpoint, in the integration's form."""


class Write(Worked):
    """A graph's pending write, in the integration's form."""


class Custom(Model):
    """Anything, in `data`. Types that are not named here have the same form."""

    claim: int | None = None
    data: Any = None


class Sealed(Model):
    """The value of any event of an encrypted session that says something: what stays in clear, and the rest."""

    claim: int | None = None
    sealed: tuple[str, str] = Field(alias="$sealed", description="id of the key; base64 of salt and AES-256-GCM text")


VALUES: dict[str, type[Model]] = {
    "session": Session,
    "run": Run,
    "status": Status,
    "claim": Claim,
    "step": Step,
    "outcome": Outcome,
    "rewind": Rewind,
    "message": Message,
    "delta": Delta,
    "tool_call": ToolCall,
    "question": Question,
    "answer": Answer,
    "item": Item,
    "state": State,
    "error": RunError,
    "checkpoint": Checkpoint,
    "write": Write,
    "custom": Custom,
}
"""The model of each own type's value."""

assert VALUES.keys() == OWN_TYPES


class Headers(BaseModel):
    """The State Protocol's headers, and no more."""

    model_config = ConfigDict(extra="forbid", strict=True)

    operation: Literal["insert", "update", "delete"]
    timestamp: str = Field(description="RFC 3339, UTC")


class SealedChange(BaseModel):
    """An event of an encrypted session: what it says is sealed, what it is stands in clear."""

    model_config = ConfigDict(extra="forbid")

    type: str
    key: str
    value: Sealed
    headers: Headers


def _change(kind: str, value: type[Model]) -> type[BaseModel]:
    operations = Literal["insert", "update"] if kind == "status" else Literal["insert"]
    headers = create_model(f"Headers_{kind}", __base__=Headers, operation=(operations, ...))
    return create_model(
        f"Event_{kind}",
        __config__=ConfigDict(extra="forbid", strict=True),
        __doc__=value.__doc__,
        type=(Literal[kind], ...),  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
        key=(str, Field(min_length=1)),
        value=(value, ...),
        headers=(headers, ...),
    )


CHANGES: dict[str, type[BaseModel]] = {kind: _change(kind, value) for kind, value in VALUES.items()}
"""The model of each own type's whole message."""

OTHER = _change("other", Custom)


def check(message: bytes) -> None:
    """Raises pydantic's ValidationError for a message that is none that the library writes."""
    kind = json.loads(message).get("type")
    if b'"$sealed":' in message:
        SealedChange.model_validate_json(message)
    elif kind in CHANGES:
        CHANGES[kind].model_validate_json(message)
    else:
        OTHER.model_validate({**json.loads(message), "type": "other"})


def event_schema() -> dict[str, Any]:
    """One JSON Schema of every message of a session."""
    every = (*CHANGES.values(), OTHER, SealedChange)
    models: list[tuple[type[BaseModel], Literal["validation"]]] = [(model, "validation") for model in every]
    _, defined = models_json_schema(models, ref_template="#/$defs/{model}")
    definitions = defined["$defs"]
    definitions["Event_other"]["properties"]["type"] = {
        "type": "string",
        "pattern": f"^(?!({'|'.join(VALUES)})$).+",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"agentstream events, version {SCHEMA}",
        "description": "One message of a session's stream: a State Protocol change.",
        "anyOf": [
            *({"$ref": f"#/$defs/Event_{kind}"} for kind in (*VALUES, "other")),
            {"$ref": "#/$defs/SealedChange"},
        ],
        "$defs": definitions,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(event_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n")
