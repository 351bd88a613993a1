"""The published models: every event that is written fits them, and they fit the State Protocol."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agentstream import Client, RunWaiting, adapters, agent, ask, current_session, recorded, step
from agentstream.backends.driving import drive
from agentstream.protocol.operations import Append, Batch, Create
from agentstream.sessions import models
from agentstream.sessions.events import OWN_TYPES, Origin, write_event
from agentstream.sessions.log import Log, open_log
from agentstream.sessions.placing import point_at
from agentstream.sessions.schemas import problem
from agentstream.sessions.state import fold

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "events.schema.json"

TEXTS = [f"{n} " + "long enough to be stored once " * 4 for n in range(6)]


@step
def read(texts: list[str]) -> list[str]:
    return texts


@step(effect="once")
def send(to: str) -> None:
    raise ConnectionError(f"no way to {to}", 5)


@agent
def child(n: int) -> int:
    return n + 1


@agent
def everything(to: str) -> str:
    read(TEXTS)
    read([*TEXTS, "more"])
    recorded.uuid4()
    try:
        send(to)
    except ConnectionError:
        child(1)
    current_session().append("note", {"n": 2**60})
    call = adapters.open_step("model", "gpt", {"messages": TEXTS})
    if call.served is None:
        call.feed("m1", "Hel")
        call.emit("message", {"id": "m1", "role": "assistant", "parts": [{"type": "text", "text": "Hello"}]})
        call.emit("tool_call", {"id": "t1", "name": "search", "arguments": "{}"})
        call.emit("state", {"mood": "good"})
        call.finish("Hello", usage={"input_tokens": 3, "output_tokens": 1})
    return str(ask("sure?"))


@agent
def fails() -> None:
    raise ValueError("no")


def eventful(client: Client) -> list[bytes]:
    """A session's messages, and those of a fork of it: every type that the core writes."""
    session = client.session("s")
    session.append("session", {"title": "T", "tags": {"a": 1}})
    session.append("message", {"role": "user", "parts": [{"type": "text", "text": "hi"}]})
    session.append("custom", [1, 2])
    with pytest.raises(RunWaiting):
        session.run(everything, "nowhere")
    question = next(event for event in session.events() if event.type == "question")
    session.append("answer", {"question": question.key, "value": True})
    assert session.run(everything, "nowhere") == "True"
    with pytest.raises(ValueError, match="no"):
        session.run(fails)
    session.cancel()
    fork = session.fork("f", replace={session.state().steps[0].key: "other"})
    fork.cancel()
    session.rewind(at=5)
    fork.run(child, 3)
    copied = session.fork("c", copy=True)
    return [event.raw for each in (session, fork, copied) for event in each.events()]


def test_every_event_that_is_written_fits_its_model(client: Client) -> None:
    messages = eventful(client)
    if client._core.backend.traits.skips:  # other stores put `headers.offset` in
        for message in messages:
            models.check(message)
    written = {json.loads(message)["type"] for message in messages}
    assert OWN_TYPES - written == {"checkpoint", "write"}, "a type that nobody writes here"


def test_every_event_that_is_written_is_a_state_protocol_change() -> None:
    for message in eventful(Client("memory:")):
        change = json.loads(message)
        assert change.keys() == {"type", "key", "value", "headers"}
        assert change["headers"].keys() == {"operation", "timestamp"}
        assert change["headers"]["operation"] in ("insert", "update")
        assert (change["headers"]["operation"] == "insert") or change["type"] == "status"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", change["headers"]["timestamp"])
        assert isinstance(change["type"], str)
        assert change["type"]
        assert isinstance(change["key"], str)
        assert change["key"]
        assert isinstance(change["value"], dict), "StreamDB takes objects only"


def test_every_event_that_is_written_fits_the_published_schema() -> None:
    schema = json.loads(PUBLISHED.read_text())
    for message in eventful(Client("memory:")):
        assert problem(schema, json.loads(message)) is None
    change = json.loads(write_event("claim", "1.n", {"nonce": "n"}, claim=1))
    for wrong in ({**change, "extra": 1}, {**change, "value": {}}, {**change, "key": ""}, {**change, "type": ""}):
        assert problem(schema, wrong) is not None


@pytest.mark.parametrize(
    "message",
    [
        write_event("claim", "1.n", {"nonce": "n"}),
        write_event("step", "a/0/0#1", {"kind": "k", "name": "n", "input": 1}, claim=1),
        write_event("status", "r", {"status": "odd"}, claim=1),
        write_event("message", "m", {}, operation="update"),
        write_event("rewind", "m", {"to": -1}, claim=1),
        b'{"type":"own","key":"k","value":{"data":1},"headers":{"operation":"insert","offset":"1"}}',
        b'{"type":"own","key":"k","value":1,"headers":{"operation":"insert"}}',
    ],
)
def test_models_refuse_what_is_never_written(message: bytes) -> None:
    with pytest.raises(ValidationError):
        models.check(message)


def test_fields_that_are_not_known_are_kept() -> None:
    models.check(write_event("outcome", "a/0/0#1", {"result": 1, "of the future": 2}, claim=1))


DIFFERENT = ("title", "default", "additionalProperties", "description")


def simplified(schema: Any) -> Any:
    """Without what differs between versions of pydantic and says nothing: titles, a const said again as an enum."""
    if isinstance(schema, dict):
        kept = {name: part for name, part in schema.items() if name not in DIFFERENT or isinstance(part, dict)}
        if kept.get("enum") == [kept.get("const")]:
            del kept["enum"]
        return {name: simplified(part) for name, part in kept.items()}
    return [simplified(part) for part in schema] if isinstance(schema, list) else schema


def test_the_published_schema_is_current() -> None:
    published = json.loads(PUBLISHED.read_text())
    message = "write it again: python -m agentstream.sessions.models > docs/events.schema.json"
    assert simplified(published) == simplified(models.event_schema()), message


# --- the stored format ------------------------------------------------------------------------------------------

GOLDEN = ROOT / "tests" / "golden" / "session-v1.jsonl"
EXPECTED = GOLDEN.with_suffix(".expected.json")


def summary(log: Log) -> dict[str, Any]:
    """What the fold makes of a session, as JSON."""
    state = fold(log)
    return {
        "marks": [event.mark for event in log.events],
        "types": [event.type for event in log.events],
        "incarnation": log.incarnation,
        "title": state.title,
        "tags": state.tags,
        "schema": state.schema,
        "highest_claim": state.highest_claim,
        "last_rewind": state.last_rewind,
        "runs": {run.id: [run.agent, run.status, run.arguments, run.result, run.error] for run in state.runs.values()},
        "steps": {step.key: [step.kind, step.status, step.input, step.result, step.error] for step in state.steps},
        "messages": state.messages,
        "tool_calls": state.tool_calls,
        "usage": state.usage,
        "questions": sorted(state.questions),
        "lineage": [state.lineage.source, state.lineage.count, state.lineage.claim] if state.lineage else None,
    }


def test_a_session_of_the_first_version_opens() -> None:
    messages = GOLDEN.read_bytes().splitlines()
    log = Log("golden", "golden", Origin("golden"))
    log.add(Batch(tuple(messages), "1", True))
    assert {event.type for event in log.events} >= OWN_TYPES
    assert json.loads(json.dumps(summary(log), default=str)) == json.loads(EXPECTED.read_text())


def test_a_session_of_the_first_version_goes_on(client: Client) -> None:
    backend = client._core.backend
    messages = GOLDEN.read_bytes().splitlines()
    session = client.session("golden")
    session.append("note", 0)
    fork = session.fork("keeps the path taken")
    stitched = drive(open_log(fork.id), backend)
    if stitched is not None and stitched.stitched:  # the server knows nothing of it
        fork.delete()
    session.delete()
    backend.execute(Create("~s/golden", tuple(messages)))
    assert drive(point_at("golden", "~s/golden"), backend)
    assert len(list(session.events())) == len(messages)
    assert session.run(child, 5) == 6
    session.append("note", "new")
    log = drive(open_log("golden"), backend)
    assert log is not None
    assert [event.mark for event in log.events[len(messages) :]] == [None] * (log.size - len(messages))
    backend.execute(Append("~s/golden", (b'{"type":"of the future","key":"k","value":{"x":1},"headers":{}}',)))
    assert list(session.events())[-1].value == {"x": 1}
