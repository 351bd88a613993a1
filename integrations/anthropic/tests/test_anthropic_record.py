"""`record()` itself: what it takes, what it changes, what it keeps away from the store, what a conversation costs."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import anthropic as sdk
import httpx2
import pytest
from agentstream_anthropic import record
from agentstream_anthropic._sdk import ANTHROPIC
from anthropic import Anthropic, AsyncAnthropic
from anthropic.lib.vertex import AnthropicVertex
from anthropic_kit import (
    ALL,
    CODE,
    COUNT,
    PARALLEL,
    PATH,
    SECRET,
    THINKING,
    address,
    asked,
    serving,
    streamed,
    sync_client,
)
from sdk_kit import check_that_it_stays_what_it_is
from support.provider import Behaviour, Exchange, Provider

from agentstream import Client, Redact, adapters, agent, outside_run, step
from agentstream.adapters.http import Recorded

NOWHERE = "http://127.0.0.1:1"


def test_the_client_stays_what_it_is() -> None:
    with Anthropic(api_key="x", base_url=NOWHERE) as client:
        check_that_it_stays_what_it_is(record, client)


@pytest.mark.parametrize("odd", [None, "client", Anthropic, sdk, object()])
def test_what_is_no_client_is_refused(odd: Any) -> None:
    with pytest.raises(TypeError, match=r"anthropic\.Anthropic or AsyncAnthropic client, not"):
        record(odd)


def test_proxies_are_recorded_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving([THINKING]) as proxy, Client(tmp_path) as store:
        monkeypatch.setenv("HTTP_PROXY", address(proxy))
        there = Exchange(f"http://provider.invalid{PATH}", THINKING.request, 200, "application/json", THINKING.body)
        proxy.exchanges.append(there)
        with record(Anthropic(api_key="x", base_url="http://provider.invalid")) as client:

            @agent
            def asks() -> str:
                return client.messages.create(**asked(THINKING)).id

            session = store.session("s")
            session.run(asks)
            assert len(session.state().steps) == 1


def test_an_http_client_of_ones_own_is_recorded(tmp_path: Path) -> None:
    with serving([THINKING]) as provider, Client(tmp_path) as store, httpx2.Client() as http:
        client = record(Anthropic(api_key="x", base_url=address(provider), http_client=http))

        @agent
        def asks() -> str:
            return client.messages.create(**asked(THINKING)).id

        session = store.session("s")
        session.run(asks)
        provider.close()
        assert session.replay(asks).identical


def test_vertex(tmp_path: Path) -> None:
    path = "/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict"
    said = streamed(THINKING)
    with Provider([Exchange(path, said.request, 200, said.content_type, said.body)]) as provider:
        vertex = AnthropicVertex(base_url=address(provider), project_id="p", region="l", access_token=SECRET)
        with record(vertex) as client, Client(tmp_path) as store:

            @agent
            def asks() -> list[str]:
                return [event.type for event in client.messages.create(**asked(THINKING), stream=True)]

            session = store.session("s")
            session.run(asks)
            [found] = session.state().steps
            assert (found.kind, found.name) == ("model", f"POST {path}")
            assert [call["name"] for call in session.state().tool_calls] == ["get_user_country"]
            provider.close()
            assert session.replay(asks).identical


def test_no_secret_reaches_the_store(tmp_path: Path) -> None:
    server: Any = {"type": "url", "name": "x", "url": "https://x", "authorization_token": "token-of-a-server"}
    with serving(ALL) as provider, Client(tmp_path) as store, sync_client(provider) as client:
        provider.next += [Behaviour(), Behaviour(status=401, headers={"set-cookie": "other=cookie-of-the-error"})]

        @agent
        def asks() -> None:
            client.messages.create(**asked(THINKING), extra_headers={"x-custom": "custom-secret"})
            with pytest.raises(sdk.AuthenticationError):
                client.messages.count_tokens(**COUNT.request, model="m", extra_query={"api_key": "query-secret"})
            client.beta.files.upload(file=("a.txt", b"bytes-of-an-upload"))
            client.beta.messages.create(**asked(PARALLEL), mcp_servers=[server])
            with client.messages.create(**asked(CODE), stream=True) as stream:
                next(stream)

        session = store.session("s")
        session.run(asks)
        assert SECRET in str(provider.headers)
        assert "token-of-a-server" in str(provider.asked)
        assert "cookie-of-the-provider" in str(provider.headers), "the cookie was given back to the server"
        responses = [Recorded.read(found.result, ANTHROPIC.dictionaries) for found in session.state().steps]
        assert all(responses)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"largest city" in written
    written += repr(responses).encode()  # they are compressed in the file
    assert b"request-id" in written
    for secret in (SECRET, "cookie-of", "custom-secret", "query-secret", "bytes-of-an-upload", "token-of-a-server"):
        assert secret.encode() not in written


def test_what_the_clients_rules_take_out_is_out_of_streams_too(tmp_path: Path) -> None:
    """A key that comes in pieces, in a text and in arguments."""
    whole = json.loads(PARALLEL.body)
    whole["content"] = [
        {"type": "text", "text": f"Your key, which nobody else should ever see, is {SECRET} and it is good."},
        {"type": "tool_use", "id": "toolu_1", "name": "log_in", "input": {"user": "me", "with": SECRET}},
    ]
    said = streamed(Exchange(PATH, PARALLEL.request, 200, "application/json", json.dumps(whole)))
    assert SECRET not in said.body
    with serving([said]) as provider, Client(tmp_path, redact=Redact(patterns={"key": r"sk-ant-[a-z-]+"})) as store:
        client = record(Anthropic(base_url=address(provider), api_key="x"))

        @agent
        def asks() -> Any:
            with client.messages.stream(**asked(PARALLEL)) as stream:
                return [block.model_dump() for block in stream.get_final_message().content]

        session = store.session("s")
        text, call = session.run(asks)
        assert SECRET not in text["text"]
        assert text["text"].endswith("and it is good.")
        assert call["input"]["user"] == "me"
        assert SECRET not in call["input"]["with"]
        assert session.replay(asks).result == [text, call]
        for found in session.state().steps:
            assert SECRET not in repr(Recorded.read(found.result, ANTHROPIC.dictionaries))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET[7:].encode() not in written


def test_inside_a_step_calls_are_part_of_it(tmp_path: Path) -> None:
    with serving([THINKING]) as provider, Client(tmp_path) as store, sync_client(provider) as client:

        @step
        def ask() -> str:
            return client.messages.create(**asked(THINKING)).id

        @agent
        def asks() -> list[str]:
            with outside_run():
                client.messages.create(**asked(THINKING))
            return [ask()]

        session = store.session("s")
        session.run(asks)
        assert [found.name for found in session.state().steps] == ["ask"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_wrapper_that_records_the_model_mutes_the_transport(tmp_path: Path, *, stream: bool) -> None:
    """The same call seen by an integration of a framework and by its client is recorded once, by the outer one."""
    exchange = streamed(THINKING) if stream else THINKING
    with serving([exchange]) as provider, Client(tmp_path) as store, sync_client(provider) as client:

        def model() -> list[str]:
            call = adapters.open_step("model", "framework", {"asked": "once"})
            if call.served is not None:
                return call.served.value()
            with adapters.muted():
                said: Any = client.messages.create(**asked(THINKING), stream=stream)
                made = [event.type for event in said] if stream else [said.id]
            return call.finish(made)

        @agent
        def asks() -> list[str]:
            return [*model(), client.messages.create(**asked(THINKING), stream=stream) and "again"]

        session = store.session("s")
        session.run(asks)
        assert [found.name for found in session.state().steps] == ["framework", f"POST {PATH}"]
        provider.close()
        assert session.replay(asks).identical


def test_outside_a_run_nothing_is_recorded_or_changed(tmp_path: Path) -> None:
    with serving(ALL) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        raw = anthropic.messages.with_raw_response.create(**asked(THINKING))
        assert "set-cookie" in raw.headers
        assert "content-length" in raw.headers
        assert list(client.sessions()) == []


def test_async_clients_are_recorded_in_place() -> None:
    client = AsyncAnthropic(api_key="x", base_url=NOWHERE)
    assert record(client) is client


# --- what a long conversation costs ----------------------------------------------------------------------------------

WORDS = ["order", "refund", "customer", "river", "number", "found", "status", "city", "green"]


def talk(turns: int, *, stream: bool) -> tuple[list[Exchange], int]:
    """A made-up conversation, half of it signed thoughts and tool calls; and how many bytes are new in it."""
    drawn, new = random.Random(1), 0

    def words(count: int) -> str:
        return " ".join(f"{word}{drawn.randrange(999)}" for word in drawn.choices(WORDS, k=count))

    def signature() -> str:
        return f"{drawn.getrandbits(2400):0600x}"

    answers = []
    for number in range(turns):
        blocks: list[Any] = [{"type": "text", "text": words(60)}]
        if number % 2 == 0:
            call = {"type": "tool_use", "id": f"toolu_{drawn.getrandbits(96):x}", "name": "look", "input": {}}
            blocks = [{"type": "thinking", "thinking": words(80), "signature": signature()}]
            blocks.append({**call, "input": {"q": words(10)}})
        stop = "tool_use" if number % 2 == 0 else "end_turn"
        made = {**json.loads(PARALLEL.body), "content": blocks, "stop_reason": stop, "id": f"msg_{number}"}
        new += len(json.dumps(blocks)) + len(f"And what of number {number}?")
        request = {"messages": [{"role": "user", "content": "start"}]}
        whole = Exchange(PATH, request, 200, "application/json", json.dumps(made))
        answers.append(streamed(whole) if stream else whole)
    return answers, new


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_hundred_turns_cost_in_proportion_to_what_is_new_in_them(tmp_path: Path, *, stream: bool) -> None:
    answers, new = talk(100, stream=stream)
    sent = sum(len(answer.body) for answer in answers) if stream else 0

    class Next(Provider):
        def take(self, path: str, headers: dict[str, str], request: Any) -> tuple[Behaviour, Exchange]:
            self.asked.append((path, request))
            return Behaviour(), answers[len(self.asked) - 1]

    with Next() as provider, Client(tmp_path) as store, sync_client(provider) as client:

        def ask(messages: Any) -> Any:
            if not stream:
                return client.messages.create(model="m", max_tokens=9, messages=messages)
            with client.messages.stream(model="m", max_tokens=9, messages=messages) as events:
                return events.get_final_message()

        @agent
        def asks() -> int:
            messages: Any = [{"role": "user", "content": "start"}]
            for number in range(100):
                messages += [{"role": "assistant", "content": ask(messages).content}]
                messages += [{"role": "user", "content": f"And what of number {number}?"}]
            return len(messages)

        assert store.session("s").run(asks) == 201
    [file] = tmp_path.rglob("*.db")
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size <= 3 * new + 0.4 * sent, size / new
