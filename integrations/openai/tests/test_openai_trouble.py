"""Bad days: errors, retries, cut streams, callers that stop reading. What code saw is what a replay shows it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai as sdk
import pytest
from openai_kit import (
    ALL,
    CHAT,
    CHAT_STREAM_ANSWER,
    EMBEDDING,
    RESPONSE_STREAM_ANSWER,
    async_client,
    sync_client,
)
from sdk_kit import attempts, check_offline, failed, marker
from support.provider import Behaviour, Provider

from agentstream import AsyncClient, Client, Diverged, ReplayedError, agent

STREAMS = {"chat": CHAT_STREAM_ANSWER, "responses": RESPONSE_STREAM_ANSWER}


def stream(openai: Any, kind: str) -> Any:
    create = openai.chat.completions.create if kind == "chat" else openai.responses.create
    return create(**STREAMS[kind].request)


def test_retries_are_attempts_of_one_step_and_the_last_is_served(tmp_path: Path) -> None:
    with Provider([CHAT]) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        provider.next += [failed(500), failed(429)]

        @agent
        def asks() -> str:
            return openai.chat.completions.create(**CHAT.request).id

        session = client.session("s")
        session.run(asks)
        assert attempts(client, "s") == [["failed", "failed", "ok"]]
        provider.close()
        assert session.replay(asks).identical


@pytest.mark.parametrize("seen", [True, False])
def test_an_error_that_code_went_on_from_is_served_and_one_nobody_saw_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, seen: bool
) -> None:
    with Provider([CHAT]) as provider, Client(tmp_path) as client, sync_client(provider, max_retries=1) as openai:
        provider.next += [failed(), failed()]

        @agent
        def asks() -> Any:
            try:
                return openai.chat.completions.create(**CHAT.request).id
            except sdk.InternalServerError as error:
                if not seen:
                    raise
                return [error.status_code, error.body, marker()]

        session = client.session("s")
        if seen:
            status, body, _ = session.run(asks)
            assert (status, body["code"]) == (500, "on_purpose")
            provider.close()
            monkeypatch.setattr(
                "openai._base_client.time", SimpleNamespace(time=time.time)
            )  # nobody waits to try again
            report = session.replay(asks)
            assert report.identical
            assert report.result == [status, body, "after"]
        else:
            with pytest.raises(sdk.InternalServerError):
                session.run(asks)
            assert session.run(asks).startswith("chatcmpl-")
            assert attempts(client, "s") == [["failed", "failed", "ok"]]


def test_a_refused_connection_is_the_same_error_when_served(tmp_path: Path) -> None:
    with Provider([CHAT]) as provider, Client(tmp_path) as client, sync_client(provider, max_retries=0) as openai:
        provider.close()

        @agent
        def asks() -> list[str]:
            try:
                openai.chat.completions.create(**CHAT.request)
            except sdk.APIConnectionError as error:
                cause = error.__cause__
                assert cause is not None
                return [type(error).__name__, type(cause).__name__, type(cause).__module__, str(cause), marker()]
            raise AssertionError("nobody listens there")

        session = client.session("s")
        assert session.run(asks)[:2] == ["APIConnectionError", "ConnectError"]
        report = session.replay(asks)
        assert report.identical, report


def test_a_timeout_is_the_same_error_when_served(tmp_path: Path) -> None:
    with (
        Provider([RESPONSE_STREAM_ANSWER], piece=100) as provider,
        Client(tmp_path) as client,
        sync_client(provider, max_retries=0, timeout=0.2) as openai,
    ):
        provider.next += [Behaviour(stall=1000)]

        @agent
        def asks() -> list[str]:
            seen = []
            try:
                seen += [event.type for event in stream(openai, "responses")]
            except Exception as error:
                seen += sorted({base.__name__ for base in type(error).__mro__ if base not in ReplayedError.__mro__})
            marker()
            return seen

        session = client.session("s")
        first = session.run(asks)
        assert {"APITimeoutError", "ReadTimeout"} & set(first)
        report = session.replay(asks)
        assert report.identical, report


@pytest.mark.parametrize("kind", STREAMS)
def test_reading_stopped_early_is_an_outcome_and_reading_on_diverges(kind: str, tmp_path: Path) -> None:
    with Provider(STREAMS.values(), piece=200) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        enough = 3

        @agent
        def asks() -> list[Any]:
            seen = []
            with stream(openai, kind) as events:
                for event in events:
                    seen.append(event.model_dump())
                    if len(seen) == enough:
                        break
            return [*seen, marker()]

        session = client.session("s")
        session.run(asks)
        assert attempts(client, "s") == [["ok"], ["ok"]]
        provider.close()
        assert session.replay(asks).identical
        enough = 1000
        report = session.replay(asks)
        assert report.divergence is not None
        assert report.divergence.step_index == 0


@pytest.mark.parametrize("kind", STREAMS)
def test_a_loop_left_by_break_is_an_outcome_too(kind: str, tmp_path: Path) -> None:
    with Provider(STREAMS.values(), piece=200) as provider, Client(tmp_path) as client, sync_client(provider) as openai:

        def first_event() -> Any:
            for event in stream(openai, kind):
                return event.model_dump()

        @agent
        def asks() -> Any:
            return first_event()

        session = client.session("s")
        session.run(asks)
        provider.close()
        report = session.replay(asks)
        assert report.identical, report


@pytest.mark.parametrize("kind", STREAMS)
def test_an_async_loop_left_by_break_is_an_outcome_too(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        with Provider(STREAMS.values(), piece=200) as provider:
            async with AsyncClient(tmp_path) as client, async_client(provider) as openai:

                @agent
                async def asks() -> Any:
                    seen: list[Any] = []
                    events = await stream(openai, kind)
                    async for event in events:
                        seen.append(event.model_dump())
                        break
                    await events.close()
                    return seen

                session = client.session("s")
                await session.run(asks)
                provider.close()
                report = await session.replay(asks)
                assert report.identical, report

    asyncio.run(main())


@pytest.mark.parametrize("how", [{"cut": 1500}, {"stop": 1500}], ids=["cut", "stop"])
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("seen", [True, False])
def test_a_stream_that_the_server_ends_early(kind: str, how: Any, tmp_path: Path, *, seen: bool) -> None:
    """Code that went on with what it got is served the same; if it had not, the call is made again."""
    with Provider(STREAMS.values(), piece=100) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        provider.next += [Behaviour(**how)]

        @agent
        def asks() -> list[Any]:
            got: list[Any] = []
            try:
                got += [event.model_dump() for event in stream(openai, kind)]
            except Exception as error:
                got += [type(error).__name__, str(error)]
            if seen:
                marker()
            elif len(provider.billed) == 1:
                raise RuntimeError("the process ends here")
            return got

        session = client.session("s")
        if seen:
            first = session.run(asks)
            assert attempts(client, "s") == [["failed"], ["ok"]]
            assert session.state().messages == []
            check_offline(provider, session, asks, first)
        else:
            with pytest.raises(RuntimeError):
                session.run(asks)
            session.run(asks)
            assert attempts(client, "s") == [["failed", "ok"]]
            assert len(provider.billed) == 2
            assert len(session.state().messages) == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("chat", 'data: {"error": {"message": "overloaded", "code": "busy"}}\n\n'),
        ("responses", 'event: error\ndata: {"type": "error", "error": {"message": "overloaded", "code": "busy"}}\n\n'),
    ],
)
def test_an_error_event_is_an_error_outcome(kind: str, body: str, tmp_path: Path) -> None:
    with Provider(STREAMS.values(), piece=100) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        provider.next += [Behaviour(body=STREAMS[kind].body[:1000].rpartition("\n\n")[0] + "\n\n" + body)]

        @agent
        def asks() -> list[Any]:
            got: list[Any] = []
            try:
                got += [event.model_dump() for event in stream(openai, kind)]
            except sdk.APIError as error:
                got += [type(error).__name__, error.message, error.body]
            return [*got, marker()]

        session = client.session("s")
        first = session.run(asks)
        assert "overloaded" in str(first)
        assert attempts(client, "s") == [["failed"], ["ok"]]
        check_offline(provider, session, asks, first)


def test_a_cancelled_stream_is_cancelled_again_and_not_billed_again(tmp_path: Path) -> None:
    async def main() -> None:
        with Provider([RESPONSE_STREAM_ANSWER, EMBEDDING], piece=100) as provider:
            async with AsyncClient(tmp_path) as client, async_client(provider) as openai:
                stall = RESPONSE_STREAM_ANSWER.place_after(" capital")
                provider.next += [Behaviour(stall=stall)]
                arrived = asyncio.Event()
                seen: list[Any] = []
                enough = RESPONSE_STREAM_ANSWER.body[:stall].count("\n\n")

                async def reading() -> None:
                    async for event in await stream(openai, "responses"):
                        seen.append(event.model_dump())
                        if len(seen) == enough:
                            arrived.set()

                @agent
                async def asks() -> Any:
                    task = asyncio.create_task(reading())
                    await arrived.wait()
                    task.cancel()
                    await asyncio.wait([task])
                    await openai.embeddings.create(input="hi", model="e")
                    return [task.cancelled(), *seen]

                session = client.session("s")
                cancelled, *events = await session.run(asks)
                assert cancelled
                assert len(events) == enough
                provider.close()
                arrived.clear()
                seen.clear()
                report = await session.replay(asks)
                assert report.identical, report

    asyncio.run(main())


def test_changed_requests_diverge_before_anything_is_sent(tmp_path: Path) -> None:
    with Provider(ALL) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        request: Any = dict(CHAT.request)

        @agent
        def asks() -> str:
            text = openai.chat.completions.create(**request).id
            marker()
            raise RuntimeError(text)

        session = client.session("s")
        with pytest.raises(RuntimeError):
            session.run(asks)
        request["model"] = "gpt-other"
        with pytest.raises(Diverged) as caught:
            session.run(asks)
        assert caught.value.divergence.path == "input.body.model"
        assert len(provider.billed) == 1


def test_the_order_of_keys_and_the_cache_key_are_no_difference(tmp_path: Path) -> None:
    with Provider(ALL) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        request: Any = dict(CHAT.request)

        @agent
        def asks() -> str:
            return openai.chat.completions.create(**request).id

        session = client.session("s")
        session.run(asks)
        tools = [dict(reversed(tool.items())) for tool in request["tools"]]
        request = {**dict(reversed(request.items())), "tools": tools, "prompt_cache_key": "drawn at random"}
        assert session.replay(asks).identical


def test_streams_left_unclosed_are_outcomes_by_the_end_of_the_run(tmp_path: Path) -> None:
    """A loop that is left holds its stream until the garbage collector comes, which may be long after the run."""

    async def main() -> None:
        with Provider(STREAMS.values(), piece=200) as provider:
            async with AsyncClient(tmp_path) as client, async_client(provider) as openai:

                async def first_of(kind: str) -> Any:
                    async for event in await stream(openai, kind):
                        return event.model_dump()

                @agent
                async def asks() -> list[Any]:
                    return [await first_of("chat"), marker(), await first_of("responses"), marker()]

                session = client.session("s")
                await session.run(asks)
                assert [step.status for step in (await session.state()).steps] == ["finished"] * 4
                provider.close()
                report = await session.replay(asks)
                assert report.identical, report

    asyncio.run(main())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_stream_is_no_outcome(interruption: type[BaseException], tmp_path: Path) -> None:
    with Provider(STREAMS.values(), piece=200) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        interrupted = True

        @agent
        def asks() -> int:
            seen = 0
            with stream(openai, "responses") as events:
                for _ in events:
                    seen += 1
                    if interrupted and seen == 3:
                        raise interruption
            return seen

        session = client.session("s")
        with pytest.raises(interruption):
            session.run(asks)
        interrupted = False
        assert session.run(asks) > 3
        assert len(provider.billed) == 2


def test_a_run_cancelled_from_outside_makes_its_call_again(tmp_path: Path) -> None:
    async def main() -> None:
        with Provider([RESPONSE_STREAM_ANSWER], piece=100) as provider:
            async with AsyncClient(tmp_path) as client, async_client(provider) as openai:
                provider.next += [Behaviour(stall=1000)]

                @agent
                async def asks() -> int:
                    return len([event async for event in await stream(openai, "responses")])

                session = client.session("s")
                task = asyncio.create_task(session.run(asks))
                await asyncio.to_thread(provider.stalled.wait)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await session.run(asks) > 3
                assert len(provider.billed) == 2

    asyncio.run(main())
