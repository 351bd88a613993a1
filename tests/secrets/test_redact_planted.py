"""Secrets planted in every way in are in no byte of what is kept, shown or logged."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from cli_kit import command, environment
from hostile import HostileBackend
from pydantic import BaseModel, SecretStr
from redact_kit import (
    ANTHROPIC,
    AWS,
    BADGE,
    CARD,
    GITHUB,
    JWT,
    OPENAI,
    PASSWORD,
    PEM,
    RULES,
    SHAPED,
    SLACK,
    assert_nowhere,
)

from agentstream import (
    AsyncClient,
    Client,
    Redacted,
    ReplayedError,
    RunPending,
    RunWaiting,
    Secret,
    Worker,
    agent,
    ask,
    current_session,
    delta,
    emit,
    inbox,
    spawn,
    step,
)

IN_URL = "hunter-2,hunter"
EVERY = [*SHAPED, PASSWORD, CARD, BADGE, IN_URL]


@dataclass
class Login:
    user: str
    word: Annotated[str, Secret("word")]


class Account(BaseModel):
    name: str
    pin: Annotated[int, Secret("pin")]
    key: SecretStr


@step
def fetch(url: str, headers: dict[str, str], password: str) -> list[dict[str, str]]:
    delta(f"fetching with {JWT[:20]}")
    delta(f"{JWT[20:]} now")
    emit("custom", {"inner": [PASSWORD], "raw": OPENAI.encode()})
    emit("message", {"role": "assistant", "parts": [{"type": "text", "text": f"your key is {OPENAI}."}]})
    return [{"token": PASSWORD, "other": f"{SLACK} and {BADGE}"}]


@step(retries=1)
def fail(secret: str) -> None:
    error = ValueError(f"no such key: {secret}", secret)
    error.key = secret  # type: ignore[attr-defined]
    getattr(error, "add_note", str)(f"it was {secret}")  # from Python 3.11 on
    raise error


@step
def log_in(login: Login, account: Account) -> Account:
    assert login.word == PASSWORD
    return account


@agent
def child(key: str) -> str:
    return f"{key} is what I got"


@agent
def leaky(key: str, card: dict[str, str], password: str) -> dict[str, Any]:
    assert isinstance(key, Redacted)
    assert isinstance(card["number"], Redacted)
    assert isinstance(password, Redacted)
    found = fetch(f"https://me:{IN_URL}@x.org/?api_key={GITHUB}", {"Authorization": f"Bearer {JWT}"}, PASSWORD)
    assert isinstance(found[0]["token"], Redacted)
    delta("so it is " + AWS[:7])
    delta(AWS[7:] + ", and the card ")
    for digit in CARD:
        delta(digit)
    with pytest.raises(ValueError, match="redacted") as met:
        fail(ANTHROPIC)
    assert ANTHROPIC not in f"{met.value} {met.value.args} {vars(met.value)}"
    assert isinstance(met.value, ReplayedError)
    account = log_in(Login("me", PASSWORD), Account(name="n", pin=48291, key=SecretStr(PASSWORD)))
    assert account.pin == Redacted("pin")
    session: Any = current_session()
    session.append("note", {"password": PASSWORD, GITHUB: 1, "said": {1: ANTHROPIC}})
    spawned = spawn(child, SLACK)
    assert SLACK not in spawned.result()
    ask(f"Is {OPENAI} right?", choices=["yes", "no"])
    said = inbox()
    assert ANTHROPIC not in str(said)
    return {"pem": PEM, "text": f"all of {PEM}", "ssn": BADGE, "bytes": JWT.encode()}


def live(client: Client) -> list[Exception]:
    """A session into which secrets come by every way; returns the errors that were met."""
    session, met = client.session("s"), []
    call = (OPENAI, {"number": CARD, "of": BADGE}, PASSWORD)
    session.label(f"about {OPENAI}", {"who": SLACK, "password": PASSWORD})
    with pytest.raises(RunWaiting) as waiting:
        session.run(leaky, *call)
    session.append("message", {"role": "user", "parts": [{"type": "text", "text": f"use {ANTHROPIC}"}]})
    session.append("custom", {"inner": [PASSWORD, 1], "cards": [int(CARD.replace(" ", ""))]})
    with pytest.raises(RunPending) as pending:
        session.run(leaky, GITHUB, {}, "")
    session.answer(waiting.value.questions[0], "yes", by=f"somebody with {GITHUB}")
    assert PEM not in str(session.run(leaky, *call))
    outcome = next(event for event in session.events() if event.type == "outcome")
    session.fork("s-b", replace={outcome: [{"token": PASSWORD, "other": OPENAI}]})
    session.fork("s-e", replace={outcome: ValueError(f"it was {ANTHROPIC}")})
    unknown(client, met)
    assert session.replay(leaky).identical
    return [*met, waiting.value, pending.value]


def unknown(client: Client, met: list[Exception]) -> None:
    @step(effect="once")
    def pay(key: str) -> str:
        raise KeyboardInterrupt

    def payer() -> str:
        return pay(OPENAI)

    session = client.session("paid")
    with pytest.raises(KeyboardInterrupt):
        session.run(payer)
    session.resolve(session.unresolved()[0], f"paid with {JWT}")
    assert JWT not in session.run(payer)


@pytest.mark.parametrize("kind", ["sync", "hostile"])
def test_planted(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    caplog.set_level(logging.DEBUG)
    store = HostileBackend() if kind == "hostile" else None
    client = Client(store or tmp_path / "store", redact=RULES)
    met = live(client)
    out = io.BytesIO()
    names = ["s", "s-b", "s-e", "paid", *(node.id for node in client.session("s").tree().children)]
    assert len(names) == 5
    for name in names:
        client.session(name).export(out)
    raw = b"".join(event.raw for name in names for event in client.session(name).events())
    told = [str(error) + repr(vars(error)) for error in met]
    (tmp_path / "store").mkdir(exist_ok=True)
    (tmp_path / "store" / "raw").write_bytes(raw)
    assert_nowhere(tmp_path, EVERY, out.getvalue(), caplog.text, *told)
    assert b"$redacted" in raw
    assert b"[redacted: " in raw
    client.close()


def test_the_command_line_has_what_the_record_has(tmp_path: Path) -> None:
    with Client(tmp_path / "store", redact=RULES) as client:
        live(client)
    shown = []
    for asked in (["show", "s"], ["show", "s", "--json"], ["list", "--json"], ["show", "s@5"]):
        done = subprocess.run(
            command(*asked, "--url", str(tmp_path / "store")), capture_output=True, env=environment(), check=True
        )
        shown.append(done.stdout.decode() + done.stderr.decode())
    assert any("redacted" in each for each in shown)
    assert_nowhere(tmp_path, EVERY, *shown)


def test_planted_async(tmp_path: Path) -> None:
    @step
    async def afetch(key: str) -> dict[str, str]:
        await asyncio.sleep(0)
        for piece in (OPENAI[:9], OPENAI[9:30], OPENAI[30:]):
            delta(piece)
            await asyncio.sleep(0)
        return {"token": f"{key} {GITHUB}", "password": PASSWORD}

    @agent
    async def agent_(key: str) -> str:
        got = await asyncio.gather(afetch(JWT), afetch(AWS))
        assert isinstance(got[0]["password"], Redacted)
        return got[0]["token"] + key

    async def live() -> None:
        async with AsyncClient(tmp_path / "store", redact=RULES) as client:
            session = client.session("s")
            result = await session.run(agent_, SLACK)
            assert GITHUB not in result
            assert (await session.replay(agent_)).identical
            await session.append("message", {"parts": [PEM]})
            assert "[redacted: api_key]" in (await session.output()).text

    asyncio.run(live())
    assert_nowhere(tmp_path / "store", EVERY)


def test_a_worker_logs_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    @agent
    def refuses(text: str) -> None:
        raise ValueError(f"I will not use {OPENAI}")

    with Client(tmp_path / "store", redact=True) as client:
        client.session("s").append("message", {"role": "user", "parts": [{"type": "text", "text": ANTHROPIC}]})
        Worker(client, refuses, on_message=True, max_attempts=1).run(once=True)
        assert client.session("s").status() == "exhausted"
    assert "I will not use [redacted: api_key]" in caplog.text
    assert_nowhere(tmp_path / "store", EVERY, caplog.text)
