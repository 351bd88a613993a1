"""Bad days: errors, retries, cut streams, callers that stop reading. What code saw is what a replay shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anthropic as sdk
import pytest
from anthropic_kit import (
    CODE,
    COUNT,
    PARALLEL,
    THINKING,
    asked,
    async_client,
    serving,
    streamed,
    sync_client,
)
from sdk_kit import attempts, check_offline, failed, marker, refused
from support.provider import Behaviour

from agentstream import AsyncClient, Client, Diverged, agent

ERROR = 'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'
BEGUN = CODE.body[:3000].rpartition("\n\n")[0] + "\n\n"


def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a replay that is tried again would wait as long as the first run did."""
    monkeypatch.setattr("anthropic._base_client.BaseClient._calculate_retry_timeout", lambda *args, **more: 0)


def test_retries_are_attempts_of_one_step_and_the_last_is_served(tmp_path: Path) -> None:
    with serving([THINKING]) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        provider.next += [failed(500), failed(529)]

        @agent
        def asks() -> str:
            return anthropic.messages.create(**asked(THINKING)).id

        session = client.session("s")
        session.run(asks)
        assert attempts(client, "s") == [["failed", "failed", "ok"]]
        provider.close()
        assert session.replay(asks).identical


@pytest.mark.parametrize("seen", [True, False])
def test_an_error_that_code_went_on_from_is_served_and_one_nobody_saw_is_tried_again(
    tmp_path: Path, *, seen: bool
) -> None:
    with serving([THINKING]) as provider, Client(tmp_path) as client, sync_client(provider, max_retries=1) as anthropic:
        provider.next += [failed(), failed()]

        @agent
        def asks() -> Any:
            try:
                return anthropic.messages.create(**asked(THINKING)).id
            except sdk.InternalServerError as error:
                if not seen:
                    raise
                return [error.status_code, error.body, marker()]

        session = client.session("s")
        if seen:
            first = session.run(asks)
            assert first[0] == 500
            check_offline(provider, session, asks, first)
        else:
            with pytest.raises(sdk.InternalServerError):
                session.run(asks)
            assert session.run(asks).startswith("msg_")
            assert attempts(client, "s") == [["failed", "failed", "ok"]]


def test_a_refused_connection_is_the_same_error_when_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody_waits(monkeypatch)
    with serving([THINKING]) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        provider.close()

        @agent
        def asks() -> list[str]:
            try:
                anthropic.messages.create(**asked(THINKING))
            except sdk.APIConnectionError as error:
                cause = error.__cause__
                assert cause is not None
                return [type(error).__name__, type(cause).__name__, str(cause), marker()]
            raise AssertionError("nobody listens there")

        session = client.session("s")
        assert session.run(asks)[:2] == ["APIConnectionError", "ConnectError"]
        assert attempts(client, "s") == [["failed"] * 3, ["ok"]]
        report = session.replay(asks)
        assert report.identical, report


@pytest.mark.parametrize("helper", [False, True], ids=["events", "helper"])
def test_an_error_event_is_an_error_outcome(tmp_path: Path, *, helper: bool) -> None:
    with serving([CODE], piece=100) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        provider.next.append(Behaviour(body=BEGUN + ERROR))

        @agent
        def asks() -> list[Any]:
            got: list[Any] = []
            try:
                if helper:
                    with anthropic.messages.stream(**asked(CODE)) as stream:
                        got += [event.type for event in stream]
                else:
                    got += [event.type for event in anthropic.messages.create(**asked(CODE), stream=True)]
            except sdk.APIStatusError as error:
                got += [type(error).__name__, error.body]
            return [*got, marker()]

        session = client.session("s")
        first = session.run(asks)
        assert "overloaded_error" in str(first)
        assert attempts(client, "s") == [["failed"], ["ok"]]
        check_offline(provider, session, asks, first)


@pytest.mark.parametrize("how", [Behaviour(cut=3000), Behaviour(stop=3000)], ids=["cut", "stop"])
def test_a_stream_that_ends_early_is_no_outcome_unless_code_went_on(how: Behaviour, tmp_path: Path) -> None:
    with serving([CODE], piece=100) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        provider.next.append(how)

        @agent
        def asks() -> str:
            with anthropic.messages.stream(**asked(CODE)) as stream:
                for _ in stream:
                    pass
                found = stream.get_final_message()
            if found.stop_reason is None:
                raise RuntimeError("the answer is cut")
            return found.stop_reason

        session = client.session("s")
        with pytest.raises(Exception, match=r"cut|peer|closed|onnection"):
            session.run(asks)
        assert session.run(asks) == "end_turn"
        assert attempts(client, "s") == [["failed", "ok"]]
        assert len(session.state().messages) == 1


def test_reading_stopped_early_is_an_outcome_and_reading_on_diverges(tmp_path: Path) -> None:
    with serving([CODE], piece=100) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        wanted = SimpleNamespace(events=5)

        @agent
        def asks() -> list[str]:
            with anthropic.messages.create(**asked(CODE), stream=True) as stream:
                got = [next(stream).type for _ in range(wanted.events)]
            return [*got, marker()]

        session = client.session("s")
        first = session.run(asks)
        assert attempts(client, "s") == [["ok"], ["ok"]]
        provider.close()
        assert session.replay(asks).result == first
        wanted.events = 40
        assert session.replay(asks).divergence is not None


def test_a_cancelled_stream_is_cancelled_again_and_not_billed_again(tmp_path: Path) -> None:
    async def main() -> None:
        with serving([CODE, COUNT], piece=100) as provider:
            async with AsyncClient(tmp_path) as client, async_client(provider) as anthropic:
                provider.next.append(Behaviour(stall=len(BEGUN)))
                arrived = asyncio.Event()
                seen: list[Any] = []

                async def reading() -> None:
                    async for event in await anthropic.messages.create(**asked(CODE), stream=True):
                        seen.append(event.type)
                        if len(seen) == BEGUN.count("\n\n") - BEGUN.count("event: ping"):
                            arrived.set()

                @agent
                async def asks() -> Any:
                    task = asyncio.create_task(reading())
                    await arrived.wait()
                    task.cancel()
                    await asyncio.wait([task])
                    await anthropic.messages.count_tokens(model="m", messages=COUNT.request["messages"])
                    return [task.cancelled(), *seen]

                session = client.session("s")
                first = await session.run(asks)
                assert first[0] is True
                provider.close()
                arrived.clear()
                seen.clear()
                report = await session.replay(asks)
                assert report.identical, report
                assert report.result == first

    asyncio.run(main())


def test_a_changed_request_diverges_before_anything_is_sent(tmp_path: Path) -> None:
    with serving([THINKING, PARALLEL]) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        exchange = THINKING

        @agent
        def asks() -> str:
            said = anthropic.messages.create(**asked(exchange))
            marker()
            if exchange is THINKING:
                raise RuntimeError("stopped")
            return said.id

        session = client.session("s")
        with pytest.raises(RuntimeError, match="stopped"):
            session.run(asks)
        exchange = PARALLEL
        with pytest.raises(Diverged, match="POST /v1/messages"):
            session.run(asks)
        assert len(provider.billed) == 1


def test_a_step_whose_result_is_no_response_is_refused_at_once(tmp_path: Path) -> None:
    """The SDK tries again after what is not its own error; this one it hands on."""
    with serving([THINKING]) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:

        @agent
        def asks() -> str:
            said = anthropic.messages.create(**asked(THINKING)).id
            return said + marker()

        session = client.session("s")
        session.run(asks)
        [call, _] = session.state().steps
        assert call.outcome is not None
        branch = session.fork("b", replace={call.outcome: "no response"})
        with refused("no HTTP response"):
            branch.run(asks)


def test_a_stream_left_unread_is_an_outcome_by_the_end_of_the_run(tmp_path: Path) -> None:
    exchanges = [streamed(PARALLEL)]
    with serving(exchanges, piece=100) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:

        @agent
        def asks() -> str:
            stream = anthropic.messages.create(**asked(PARALLEL), stream=True)
            return next(iter(stream)).type

        session = client.session("s")
        assert session.run(asks) == "message_start"
        assert attempts(client, "s") == [["ok"]]
        provider.close()
        assert session.replay(asks).identical
