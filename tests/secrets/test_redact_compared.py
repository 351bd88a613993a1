"""What was taken out is compared all the same: by a key that is beside the record, never in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import pytest
from agents_kit import Way
from redact_kit import ANTHROPIC, GITHUB, OPENAI, PASSWORD, assert_nowhere

from agentstream import Client, Diverged, Redact, Redacted, RunPending, Secret, agent, step
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.sessions.fingerprints import FILE, VARIABLE

RULES = Redact(fields=["password"])


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


class Broken(Exception):
    pass


def program(way: Way, secret: str, *, breaks: bool = False) -> Any:
    """An agent that hands a secret of its own to a step, together with what the step before gave."""

    @step
    def look(key: str, text: str) -> str:
        return f"saw {key}"

    def body(question: str) -> Any:
        said = yield lambda: looked(secret, f"{question} with {secret}")
        if breaks:
            raise Broken
        return (yield lambda: looked(said, "again"))

    looked = step(way.of(look.__wrapped__))  # type: ignore[attr-defined]
    body.__name__ = body.__qualname__ = "asks"
    return way.agent(body)


def redacting(backend: Any, way: Way, verb: str, *args: Any, rules: Any = RULES) -> Any:
    client = Client(backend, redact=rules)
    if not way.is_async:
        return getattr(client.session("s"), verb)(*args)
    import asyncio

    return asyncio.run(getattr(client.to_async().session("s"), verb)(*args))


def test_a_resume_and_a_replay_are_served(way: Way, tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path)
    with pytest.raises(Broken):
        redacting(backend, way, "run", program(way, OPENAI, breaks=True), f"is {GITHUB} good?")
    assert redacting(backend, way, "run", program(way, OPENAI), f"is {GITHUB} good?") == "saw saw [redacted: api_key]"
    report = redacting(backend, way, "replay", program(way, OPENAI))
    assert report.identical
    assert report.unsure == 0
    assert_nowhere(tmp_path, [OPENAI, GITHUB])


def test_another_secret_diverges(way: Way, tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path)
    redacting(backend, way, "run", program(way, OPENAI), "is it good?")
    report = redacting(backend, way, "replay", program(way, OPENAI[:-1] + "x"))
    assert report.divergence.kind == "different_args"
    assert OPENAI[:-1] not in str(report)
    with pytest.raises(Broken):
        redacting(backend, way, "run", program(way, OPENAI, breaks=True), "is it good?")
    with pytest.raises(Diverged):
        redacting(backend, way, "run", program(way, ANTHROPIC), "is it good?")


def test_another_secret_in_a_runs_arguments_is_another_call(way: Way, tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path)
    with pytest.raises(Broken):
        redacting(backend, way, "run", program(way, OPENAI, breaks=True), GITHUB)
    with pytest.raises(RunPending):
        redacting(backend, way, "run", program(way, OPENAI), GITHUB[:-1] + "x")


def test_without_the_key_what_was_taken_out_matches_anything_and_the_report_says_so(way: Way, tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path)
    redacting(backend, way, "run", program(way, OPENAI), "is it good?")
    (tmp_path / FILE).unlink()
    report = redacting(backend, way, "replay", program(way, OPENAI[:-1] + "x"))
    assert report.identical
    assert report.unsure == 1
    assert "1 calls hold values that were not recorded" in str(report)
    report = redacting(backend, way, "replay", program(way, "another text"))
    assert not report.identical


def test_the_key_of_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = Way("sync")
    backend = EmbeddedBackend(tmp_path)
    monkeypatch.setenv(VARIABLE, "a key of ours")
    redacting(backend, way, "run", program(way, OPENAI), "is it good?")
    assert not (tmp_path / FILE).exists()
    assert not redacting(backend, way, "replay", program(way, ANTHROPIC)).identical
    assert redacting(backend, way, "replay", program(way, OPENAI)).unsure == 0
    monkeypatch.setenv(VARIABLE, "another")
    assert redacting(backend, way, "replay", program(way, OPENAI)).unsure == 1


def test_the_key_is_the_owners_alone_and_in_no_event(tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path)
    client = Client(backend, redact=RULES)
    client.session("s").run(program(Way("sync"), OPENAI), "x")
    file = tmp_path / FILE
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_bytes()
    assert len(key) == 32
    assert all(key not in each.read_bytes() for each in tmp_path.rglob("*") if each.is_file() and each != file)
    assert [each.name for each in tmp_path.iterdir() if "fingerprint" in each.name] == [FILE]


def test_rules_that_come_later_raise_no_alarm(way: Way, tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path)
    with pytest.raises(Broken):
        redacting(backend, way, "run", program(way, OPENAI, breaks=True), GITHUB, rules=None)
    result = redacting(backend, way, "run", program(way, OPENAI), GITHUB)
    assert "saw saw" in result
    assert redacting(backend, way, "replay", program(way, OPENAI)).identical


def test_a_rule_may_be_called_otherwise(tmp_path: Path) -> None:
    way, backend = Way("sync"), EmbeddedBackend(tmp_path)
    first, later = (Redact(patterns={name: r"E\d{6}"}) for name in ("badge", "employee"))
    with pytest.raises(Broken):
        redacting(backend, way, "run", program(way, "E123456", breaks=True), "E654321 asks", rules=first)
    redacting(backend, way, "run", program(way, "E123456"), "E654321 asks", rules=later)


def test_lanes_that_begin_alike_but_for_a_secret(tmp_path: Path) -> None:
    import asyncio

    from agentstream import AsyncClient

    @step
    async def look(key: str) -> int:
        await asyncio.sleep(0)
        return len(key)

    @agent
    async def looks() -> list[int]:
        return await asyncio.gather(*(look(key) for key in (OPENAI, OPENAI + "12", OPENAI + "345")))

    async def live() -> None:
        client = AsyncClient(tmp_path, redact=True)
        assert await client.session("s").run(looks) == [len(OPENAI), len(OPENAI) + 2, len(OPENAI) + 3]
        report = await client.session("s").replay(looks)
        assert report.identical
        assert report.steps == 3

    asyncio.run(live())


def test_marked_parameters_and_results_need_no_rules(tmp_path: Path) -> None:
    @step
    def token(user: str, word: Annotated[str, Secret("word")]) -> Annotated[str, Secret()]:
        assert word == PASSWORD
        return word + "!"

    @agent
    def logs_in(word: Annotated[str, Secret()], n: Annotated[int, Secret()]) -> str:
        assert isinstance(word, Redacted)
        assert isinstance(n, Redacted)
        got = token("me", PASSWORD)
        assert repr(got) == "Redacted('secret')"
        assert got == "[redacted: secret]"
        return got

    with Client(tmp_path) as client:
        session = client.session("s")
        assert isinstance(session.run(logs_in, PASSWORD, 482913), Redacted)
        assert session.replay(logs_in).identical
    assert_nowhere(tmp_path, [PASSWORD, "482913"])


def test_a_rule_that_raises_lets_nothing_through(tmp_path: Path) -> None:
    def rule(path: str, value: Any) -> Any:
        if isinstance(value, str) and "boom" in value:
            raise ValueError(value)
        return Redacted("mine") if path == "result.secret" else value.upper() if path == "result.name" else value

    @step
    def named(text: str) -> dict[str, str]:
        return {"secret": PASSWORD, "name": "ann", "text": text}

    @agent
    def names(text: str) -> Any:
        return named(text)

    with Client(tmp_path, redact=Redact(rule=rule)) as client:
        found = client.session("s").run(names, "x")
        assert found == {"secret": Redacted("mine"), "name": "ANN", "text": "x"}
        with pytest.raises(TypeError, match=re.escape("ValueError for arguments.text")) as refused:
            client.session("t").run(names, f"boom {PASSWORD}")
        assert PASSWORD not in str(refused.value)
    assert_nowhere(tmp_path, [PASSWORD])
    assert os.listdir(tmp_path)
