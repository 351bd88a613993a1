"""Exports under rules: nothing of what they find is in the file, and what is imported is a session of its own."""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from our_server import our_server
from redact_kit import ANTHROPIC, BADGE, CARD, OPENAI, PASSWORD, RULES, assert_nowhere

from agentstream import Attachment, Client, InvalidExport, Redact, Redacted, agent, attach, step
from agentstream.sessions.events import write_event
from agentstream.sessions.models import check

SYSTEM = "You work for the library of the town. " * 8


@step(kind="model")
def model(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"role": "assistant", "content": f"answer {len(messages)} to {messages[1]['content']}"}


@step(kind="tool")
def lookup(order: str, password: str | None = None) -> dict[str, Any]:
    return {
        "order": order,
        "rows": [{"token": f"token {n}"} for n in range(3)],
        "said": "said " + "x" * 300_000 + BADGE,
    }


@step(kind="tool")
def read(file: Attachment) -> str:
    return file.read().decode()


@step(effect="once")
def sends(count: int) -> int:
    return count


@step
def fails(question: str) -> None:
    raise ValueError(f"nothing about {question}")


@agent
def talk(question: str) -> str:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    for n in range(6):
        messages.append(model(messages))
        messages.append({"role": "user", "content": f"And then, {n}? " + "Tell me more. " * 9})
    return lookup(question)["order"]


@agent
def support(question: str) -> str:
    talk(question)
    sends(3)
    found = lookup(question, password=PASSWORD)
    try:
        fails(found["order"])
    except ValueError as error:
        letter = attach(f"a letter of {question}".encode(), name="letter.txt")
        return f"{error}; {read(letter)}"
    return "?"


QUESTION = f"Where is {BADGE}, who has {ANTHROPIC} and {CARD}?"
SECRETS = [ANTHROPIC, BADGE, CARD, PASSWORD]


def record(client: Client) -> Any:
    session = client.session("s")
    session.label(f"of {BADGE}", {"key": ANTHROPIC})
    session.append("message", {"role": "user", "parts": [{"type": "text", "text": QUESTION}]})
    session.append("note", {"password": PASSWORD, "kept": "a word"})
    session.append("custom", {"inner": [CARD, 2]})
    session.run(support, QUESTION)
    return session


@pytest.fixture
def session(tmp_path: Path) -> Any:
    with Client(tmp_path / "original") as client:
        yield record(client)


def lines_of(file: Path) -> list[Any]:
    return [line for line in map(json.loads, file.read_bytes().splitlines()) if isinstance(line, dict)]


def headers_of(file: Path) -> list[Any]:
    return [line for line in lines_of(file) if line.get("agentstream") == "export/1"]


def test_nothing_that_the_rules_find_is_in_the_file_and_it_is_replayed(session: Any, tmp_path: Path) -> None:
    before = [event.raw for event in session.events()]
    done = session.export(tmp_path / "out" / ".." / "s.jsonl", redact=RULES)
    folder = tmp_path / "handed"
    folder.mkdir()
    (tmp_path / "s.jsonl").rename(folder / "s.jsonl")
    assert_nowhere(folder, SECRETS)
    assert [event.raw for event in session.events()] == before
    [header] = headers_of(folder / "s.jsonl")
    assert (header["redacted"], header["events"], done.events) == ("rules", len(before), len(before))
    with Client("memory:") as client:
        [copy] = client.import_(folder / "s.jsonl")
        state = copy.state()
        assert state.title == "of [redacted: badge]"
        assert [event.value for event in copy.events() if event.type == "note"] == [
            {"password": Redacted("password"), "kept": "a word"}
        ]
        assert state.steps[-1].result == f"a letter of {question_left()}"
        [attachment] = copy.attachments()
        assert (attachment.name, attachment.read()) == ("letter.txt", f"a letter of {question_left()}".encode())
        for event in copy.events():
            check(event.raw)
    with Client("memory:", redact=RULES) as client:  # the password stands in the code: it is known by the same rules
        [copy] = client.import_(folder / "s.jsonl")
        report = copy.replay(support)
        assert report.identical, report
        assert report.unsure == 1
        assert report.result == state.runs[next(iter(state.runs))].result


def test_code_that_is_handed_what_is_left_needs_no_rules(session: Any, tmp_path: Path) -> None:
    session.export(tmp_path / "s.jsonl", redact=Redact(cards=True, patterns={"badge": r"E\d{6}"}))
    with Client("memory:") as client:
        [copy] = client.import_(tmp_path / "s.jsonl")
        report = copy.replay(support)
        assert report.identical, report
        assert (report.unsure, report.notes) == (0, ())
        other = copy.replay(support, input={"question": "Where is the other?"})
        assert other.divergence is not None
        assert other.divergence.kind == "different_args"
        assert any("redacted as it was exported" in note for note in other.notes)


PATHS = Redact(
    keys=False,
    paths=["arguments.question", "arguments.messages[*].content", "arguments.order", "result.order", "result.content"],
)


@pytest.mark.parametrize(
    "rules",
    [
        PATHS,
        Redact(keys=False, fields=["messages", "question", "order", "content", "said", "text", "title"]),
        Redact(keys=False, rule=lambda path, value: "gone" if isinstance(value, str) and BADGE in value else value),
    ],
    ids=["paths", "fields", "a function"],
)
def test_paths_fields_and_functions_reach_into_lists_that_are_stored_once(
    rules: Redact, session: Any, tmp_path: Path
) -> None:
    session.run(talk, QUESTION)
    session.export(tmp_path / "s.jsonl", redact=rules)
    inputs = [event for event in lines_of(tmp_path / "s.jsonl") if event.get("type") in ("step", "item", "run")]
    assert inputs
    assert BADGE not in json.dumps(inputs)
    with Client("memory:", redact=rules) as client:
        [copy] = client.import_(tmp_path / "s.jsonl")
        for each in copy.state().steps:
            assert BADGE not in repr(each.input)
        report = copy.replay(talk)
        assert report.identical, report


def test_an_element_that_stands_in_two_places_is_without_what_is_found_in_either(tmp_path: Path) -> None:
    @step
    def first(people: list[Any]) -> None: ...

    @step
    def second(staff: list[Any]) -> None: ...

    @agent
    def both() -> None:
        people = [{"name": [f"name {n} " * 20], "home": [f"home {n} " * 20]} for n in range(4)]
        first(people)
        second(people)

    with Client("memory:") as client:
        session = client.session("s")
        session.run(both)
        rules = Redact(keys=False, paths=["arguments.people[*].name", "arguments.staff[*].home"])
        session.export(tmp_path / "s.jsonl", redact=rules)
        assert b"$items" in (tmp_path / "s.jsonl").read_bytes()
    assert b"name 1" not in (tmp_path / "s.jsonl").read_bytes()
    assert b"home 1" not in (tmp_path / "s.jsonl").read_bytes()


def test_a_list_that_is_hidden_whole_has_no_elements_either(tmp_path: Path) -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.run(talk, QUESTION)
        session.export(tmp_path / "s.jsonl", redact=Redact(keys=False, fields=["messages"]))
    items = [event for event in lines_of(tmp_path / "s.jsonl") if event.get("type") in ("item", "step")]
    assert {event["type"] for event in items} == {"item", "step"}
    assert "Tell me more" not in json.dumps(items)
    assert SYSTEM not in json.dumps(items)


def test_a_reference_stays_only_where_it_leads_to_the_same(tmp_path: Path) -> None:
    text = "a text that is said again, and long enough for a reference to it to be shorter than the text itself. " * 2

    @step
    def says() -> str:
        return text

    @step
    def hears(what: str) -> None: ...

    @agent
    def run() -> None:
        hears(says())

    def rule(path: str, value: Any) -> Any:
        return "gone" if path.startswith("result") and value == text else value

    with Client("memory:") as client:
        session = client.session("s")
        session.run(run)
        assert any(b"$same" in event.raw for event in session.events())
        session.export(tmp_path / "s.jsonl", redact=Redact(keys=False, rule=rule))
    with Client("memory:") as client:
        [copy] = client.import_(tmp_path / "s.jsonl")
        said, heard = copy.state().steps
        assert (said.result, heard.input) == ("gone", {"what": text})


def test_it_is_a_life_of_its_own(session: Any, tmp_path: Path) -> None:
    session.export(tmp_path / "s.jsonl", redact=RULES)
    session.export(tmp_path / "again.jsonl", redact=RULES)
    session.export(tmp_path / "other.jsonl", redact=Redact())
    assert (tmp_path / "s.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()
    lives = {header["incarnation"] for name in ("s", "other") for header in headers_of(tmp_path / f"{name}.jsonl")}
    lives.add(session.state().incarnation)
    assert len(lives) == 3
    assert session.state().incarnation not in (tmp_path / "s.jsonl").read_text()
    noted = session.state().events[4].position
    with Client(tmp_path / "original") as client:
        [copy] = client.import_(tmp_path / "s.jsonl", prefix="beside/")
        with pytest.raises(ValueError, match="incarnation"):
            list(copy.events(start=noted))
    assert any("idempotency_key" in event.value for event in session.events() if event.type == "step")
    assert "idempotency_key" not in (tmp_path / "s.jsonl").read_text()


def test_what_is_imported_is_exported_the_same(session: Any, tmp_path: Path) -> None:
    """In memory, on disk and on a server; with its forks, after a fork and a compaction too."""
    session.fork("s-b", at=20)
    file = tmp_path / "s.jsonl"
    session.export(file, forks=True, redact=RULES)
    assert headers_of(file)[1]["shares"] == {"session": "s", "events": 20}
    stores = [Client("memory:"), Client(tmp_path / "store")]
    own = io.BytesIO()
    session.export(own, redact=RULES)
    for client in (*stores, Client(our_server().place())):
        with client:
            made = client.import_(file)
            assert [one.id for one in made] == ["s", "s-b"]
            lineage = made[1].state().lineage
            assert lineage is not None
            assert lineage.incarnation == made[0].state().incarnation
            for one in made:
                again = io.BytesIO()
                one.export(again)
                assert b'"redacted":"rules"' in again.getvalue()
                with Client("memory:") as other:
                    again.seek(0)
                    [copy] = other.import_(again)
                    assert [event.raw for event in copy.events()] == [event.raw for event in one.events()]
    with Client(tmp_path / "store") as client:
        client.session("s").export(tmp_path / "again.jsonl", forks=True)
        assert (tmp_path / "again.jsonl").read_bytes() == file.read_bytes()
        client.session("s").fork("deeper").export(tmp_path / "fork.jsonl")
        assert headers_of(tmp_path / "fork.jsonl")[0]["redacted"] == "rules"
        client.session("s").compact(keep_old=False)
        client.session("s").export(tmp_path / "compacted.jsonl")
        assert headers_of(tmp_path / "compacted.jsonl")[0]["redacted"] == "rules"


def test_a_header_that_says_otherwise_is_refused(session: Any, tmp_path: Path) -> None:
    session.export(tmp_path / "s.jsonl", redact=True)
    text = (tmp_path / "s.jsonl").read_text()
    assert '"redacted":"keys"' in text
    first, comma, rest = text.partition(',"redacted":"keys"')
    (tmp_path / "s.jsonl").write_text(first + rest)
    assert comma
    with Client("memory:") as client, pytest.raises(InvalidExport, match="redacted"):
        client.import_(tmp_path / "s.jsonl")


def test_a_run_that_was_going_on_goes_on(tmp_path: Path) -> None:
    calls: list[str] = []

    @step
    def ask(question: str) -> str:
        calls.append(question)
        return f"about {question}"

    @agent
    def going(question: str) -> str:
        first = ask(question)
        if len(calls) < 2:
            raise RuntimeError("not yet")
        return ask(first)

    with Client("memory:") as client:
        session = client.session("s")
        with pytest.raises(RuntimeError):
            session.run(going, QUESTION)
        session.export(tmp_path / "s.jsonl", redact=RULES)
    calls.append("later")
    with Client("memory:") as client:
        [copy] = client.import_(tmp_path / "s.jsonl")
        assert copy.resume(going).startswith("about about Where is [redacted: badge]")
    assert calls[2:] == [f"about {question_left()}"]


def question_left() -> str:
    return (
        QUESTION.replace(BADGE, "[redacted: badge]")
        .replace(ANTHROPIC, "[redacted: anthropic_key]")
        .replace(CARD, "[redacted: card]")
    )


def test_attachments_that_nobody_can_look_into_are_left_out(tmp_path: Path) -> None:
    image = os.urandom(50_000) + BADGE.encode()
    with Client("memory:") as client:
        session = client.session("s")
        attached = session.attach(image, name="a.png", media_type="image/png")
        session.append("message", {"role": "user", "parts": [{"type": "file", "data": attached}]})
        session.export(tmp_path / "patterns.jsonl", redact=RULES)
        session.export(tmp_path / "names.jsonl", redact=Redact(keys=False, paths=["arguments.x"]))
    with Client("memory:") as client:
        [copy] = client.import_(tmp_path / "patterns.jsonl")
        [part] = copy.state().messages[0]["parts"]
        assert (part["data"], copy.attachments()) == (Redacted("attachment"), [])
    with Client("memory:") as client:  # these rules look at no content at all
        [copy] = client.import_(tmp_path / "names.jsonl")
        assert copy.attachments()[0].read() == image


def test_what_is_compressed_is_left_out(tmp_path: Path) -> None:
    @step
    def squeezed() -> dict[str, Any]:
        return {"a": zlib.compress(BADGE.encode() * 9), "b": gzip.compress(BADGE.encode()), "c": b"\x00\xff" + b"plain"}

    @agent
    def run() -> int:
        return len(squeezed())

    with Client("memory:") as client:
        client.session("s").run(run)
        client.session("s").export(tmp_path / "s.jsonl", redact=RULES)
    with Client("memory:") as client:
        [copy] = client.import_(tmp_path / "s.jsonl")
        assert copy.state().steps[0].result == {
            "a": Redacted("compressed"),
            "b": Redacted("compressed"),
            "c": b"\x00\xffplain",
        }
        assert copy.replay(run).identical


def test_deltas_that_cut_a_secret_in_two(tmp_path: Path) -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.run(lambda: 1)
        claim = session.state().highest_claim
        values = [
            {"target": "m", "kind": "text", "text": text, "attempt": 1}
            for text in (OPENAI[:9], OPENAI[9:20], OPENAI[20:])
        ]
        stream = client.stream("s")
        for n, value in enumerate(values):
            stream.append(json.loads(write_event("delta", f"d{n}", value, claim=claim)))
        session.export(tmp_path / "s.jsonl", redact=True)
    assert OPENAI[9:20] not in (tmp_path / "s.jsonl").read_text()


def test_an_encrypted_session_and_one_with_rules_of_its_own(tmp_path: Path) -> None:
    with Client(tmp_path / "sealed", encrypt=b"k" * 32) as client:
        record(client).export(tmp_path / "s.jsonl", redact=RULES)
    folder = tmp_path / "handed"
    folder.mkdir()
    (tmp_path / "s.jsonl").rename(folder / "s.jsonl")
    assert_nowhere(folder, SECRETS)
    with Client(tmp_path / "ruled", redact=True) as client:
        record(client).export(folder / "ruled.jsonl", redact=RULES)
    assert_nowhere(folder, SECRETS)
    with Client(tmp_path / "again", encrypt=b"k" * 32, redact=RULES) as client:
        [copy] = client.import_(folder / "ruled.jsonl")
        assert copy.replay(support).identical
        copy.export(folder / "again.jsonl")
        assert (folder / "again.jsonl").read_bytes() == (folder / "ruled.jsonl").read_bytes()


def test_rules_are_named(session: Any, tmp_path: Path) -> None:
    session.export(tmp_path / "s.jsonl", redact="redact_kit:RULES")
    assert headers_of(tmp_path / "s.jsonl")[0]["redacted"] == "redact_kit:RULES"
    with pytest.raises(ValueError, match="names no rules"):
        session.export(tmp_path / "s.jsonl", redact="nothing")
    with pytest.raises(TypeError, match="Redact"):
        session.export(tmp_path / "s.jsonl", redact=3)
    session.export(tmp_path / "plain.jsonl", redact=False)
    assert "redacted" not in headers_of(tmp_path / "plain.jsonl")[0]
