"""What a run recorded is served: on replay, on resume and in forks, over the SDK's real models and its scripted one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import (
    Agent,
    ModelRetrySettings,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from agents.models.interface import ModelTracing
from agents.testing import ModelStep, assistant_message, function_call
from agents.tool_context import ToolContext
from agentstream_openai_agents import durable, instrument, run_durable, run_durable_streamed
from openai import AsyncOpenAI, OpenAIError
from openai_agents_kit import ANSWER, QUESTION, Points, conversation, scripted, support, told
from sdk_kit import check_calls_were_named_live
from support.provider import Behaviour, Provider, traffic

from agentstream import AsyncClient, Client, Diverged, Redact, agent, outside_run, step

REAL = {
    "responses whole": "openai-responses-tool-call",
    "responses streamed": "openai-responses-stream-tools",
    "chat whole": "openai-chat-tools",
    "chat streamed": "openai-chat-stream-tools",
}


@function_tool
def get_capital(country: str) -> str:
    """The capital of a country."""
    return {"UK": "London", "France": "Paris"}.get(country, "Potato City")


@function_tool
def get_user_country() -> str:
    """The user's country."""
    return "Mexico"


@function_tool
def final_result(city: str, country: str) -> str:
    """The answer."""
    return f"{city}, {country}"


async def went_through(agent: Agent[Any], question: str, session: Any, *, stream: bool) -> tuple[Any, list[Any]]:
    """The result, and all that was to be seen of it."""
    if stream:
        result: Any = run_durable_streamed(agent, question, session)
        seen = [told(event) async for event in result.stream_events()]
    else:
        result = await run_durable(agent, question, session)
        seen = []
    return result, [*seen, result.final_output, result.to_input_list(), result.context_wrapper.usage]


@pytest.mark.parametrize("name", REAL)
def test_real_models_replay_the_same_with_the_provider_gone(name: str, tmp_path: Path) -> None:
    exchanges = traffic(REAL[name])
    question = next(one for one in exchanges[0].request.get("input") or exchanges[0].request["messages"])["content"]
    stream = name.endswith("streamed")

    def assistant(url: str) -> Agent[Any]:
        client = AsyncOpenAI(base_url=url, api_key="x", max_retries=0)
        model = (
            OpenAIResponsesModel("gpt-4o", client)
            if name.startswith("responses")
            else OpenAIChatCompletionsModel("gpt-4o", client)
        )
        tools: Any = [get_capital, get_user_country, final_result]
        return Agent(
            name="geographer", model=model, tools=tools, tool_use_behavior={"stop_at_tool_names": ["final_result"]}
        )

    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            session = client.session("s").with_options(run_id="one")
            with Provider(exchanges) as provider:
                first, seen = await went_through(assistant(provider.url), question, session, stream=stream)
                assert len(provider.billed) == 2
            assert first.final_output
            second, again = await went_through(assistant(provider.url), question, session, stream=stream)
            assert again == seen
            assert [type(item) for item in second.new_items] == [type(item) for item in first.new_items]
            assert (await session.replay(durable(assistant("http://127.0.0.1:9/")))).identical
            state = await session.state()
            usage = [found.outcome.value["usage"] for found in state.steps if found.kind == "model" and found.outcome]
            assert all(each["input_tokens"] > 0 and each["output_tokens"] > 0 for each in usage)
            assert state.messages[-1]["parts"][0]["type"] in ("text", "tool_call")
            if stream:
                check_calls_were_named_live([event async for event in session.events()], state.messages)

    asyncio.run(main())


def test_a_branch_after_a_tools_result_makes_only_what_comes_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path / "store") as client:
            with Provider(conversation(stream=False)) as provider:
                points = Points(tmp_path / "log")
                await run_durable(support(provider.url, points), QUESTION, client.session("s"), hooks=points)
                events = [event async for event in client.session("s").events()]
                last = [
                    event
                    for event in events
                    if event.type == "outcome" and event.value.get("result") == "B: not refunded"
                ]
                branch = await client.session("s").fork("b", at=last[0])
                points = Points(tmp_path / "log2")
                result = await run_durable(support(provider.url, points), QUESTION, branch, hooks=points)
                assert result.final_output == ANSWER
                assert (tmp_path / "log2").read_text().split("\n")[:-1] == [
                    "lookup A",
                    "looked up A",
                    "refund A",
                    "refunded A",
                ]
                assert len(provider.billed) == 3 + 2

    asyncio.run(main())


def test_changed_code_diverges_before_a_tool_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            ran: list[str] = []

            @function_tool
            def look(at: str) -> str:
                ran.append(at)
                return at

            def made(instructions: str) -> Agent[Any]:
                steps: Any = [[function_call("look", {"at": "x"}, call_id="c")], [assistant_message("done")]]
                return scripted(*steps, tools=[look], instructions=instructions)[0]

            session = client.session("s").with_options(run_id="one")
            await run_durable(made("be kind"), "hi", session)
            report = await session.replay(durable(made("be terse")))
            assert not report.identical
            assert "be terse" in str(report)
            outcomes = [event async for event in session.events() if event.type == "outcome"]
            branch = await session.fork("b", at=next(event for event in outcomes if event.value.get("result") == "x"))
            with pytest.raises(Diverged, match="be terse"):
                await run_durable(made("be terse"), "hi", branch)
            assert ran == ["x"]

    asyncio.run(main())


def test_the_sdks_retries_are_attempts_of_one_call(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            again = ModelRetrySettings(max_retries=2, policy=lambda context: True, backoff={"initial_delay": 0.0})
            made, model = scripted(
                ModelStep(error=ConnectionError("reset")),
                [assistant_message("done")],
                model_settings=ModelSettings(retry=again),
            )
            session = client.session("s").with_options(run_id="one")
            result = await run_durable(made, "hi", session)
            assert result.final_output == "done"
            [call] = [found for found in (await session.state()).steps if found.kind == "model"]
            assert [attempt.outcome is not None for attempt in call.attempts] == [True, True]
            assert (await run_durable(made, "hi", session)).final_output == "done"
            assert len(model.calls) == 2

    asyncio.run(main())


async def streamed(client: AsyncClient, provider: Provider, log: Path) -> list[Any]:
    """All that comes of the conversation, gone on with if it was begun."""
    points = Points(log)
    result = run_durable_streamed(support(provider.url, points), QUESTION, client.session("s"), hooks=points)
    seen = [told(event) async for event in result.stream_events()]
    assert result.final_output == ANSWER
    return seen


def test_an_error_that_nobody_went_on_from_is_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            with Provider(conversation(stream=True)) as provider:
                provider.next += [Behaviour(), Behaviour(status=500)]
                with pytest.raises(OpenAIError):
                    await streamed(client, provider, tmp_path / "log")
                await streamed(client, provider, tmp_path / "log")
                assert len(provider.billed) == 3
                assert (tmp_path / "log").read_text().count("looked up") == 2

    asyncio.run(main())


def test_a_stream_that_breaks_off_is_made_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            exchanges = conversation(stream=True)
            with Provider(exchanges) as provider:
                provider.next += [Behaviour(), Behaviour(), Behaviour(cut=exchanges[2].place_after(" A"))]
                with pytest.raises(Exception, match=r"[Cc]onnection"):  # of the SDK, or of httpx2 below older ones
                    await streamed(client, provider, tmp_path / "log")
                seen = await streamed(client, provider, tmp_path / "log")
                assert len(provider.billed) == 4
                events = [each for each in seen if isinstance(each, dict)]
                said = [each["delta"] for each in events if "output_text.delta" in each["type"]]
                assert "".join(said) == ANSWER  # none of the broken one

    asyncio.run(main())


def test_the_outcome_is_durable_before_a_streams_last_event_is_handed_on(tmp_path: Path) -> None:
    async def main() -> None:
        _, model = scripted([assistant_message("done")])
        instrument(model)
        async with AsyncClient(tmp_path) as client:

            @agent
            async def reads() -> list[Any]:
                found: list[Any] = []
                nothing: Any = {"previous_response_id": None, "conversation_id": None, "prompt": None}
                events = model.stream_response(
                    None, "hi", ModelSettings(), [], None, [], ModelTracing.DISABLED, **nothing
                )
                async for event in events:
                    with outside_run():
                        async with AsyncClient(tmp_path) as other:
                            steps = (await other.session("s").state()).steps
                            found.append([event.type, any(each.status == "finished" for each in steps)])
                return found

            found = await client.session("s").run(reads)
            assert [kind for kind, _ in found].index("response.completed") == len(found) - 1
            assert [durable for _, durable in found] == [False] * (len(found) - 1) + [True]

    asyncio.run(main())


def test_a_model_known_by_its_name_needs_no_key_on_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        named: Agent[Any] = Agent(name="named", model="gpt-4o", tools=[get_capital])
        exchanges = traffic("openai-responses-tool-call")
        question = exchanges[0].request["input"][0]["content"]
        session = client.session("s").with_options(run_id="one")
        with Provider(exchanges) as provider:
            monkeypatch.setenv("OPENAI_API_KEY", "x")
            monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
            first = await run_durable(named, question, session)
        monkeypatch.delenv("OPENAI_API_KEY")
        second = await run_durable(named, question, session)
        assert second.to_input_list() == first.to_input_list()
        with pytest.raises(OpenAIError, match="api_key"):
            await run_durable(named, "something else", client.session("other"))

    async def within() -> None:
        nonlocal client
        async with AsyncClient(tmp_path) as client:
            await main()

    client: Any = None
    asyncio.run(within())


def test_calls_below_a_model_are_not_recorded_twice(tmp_path: Path) -> None:
    from agentstream_openai import record

    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            exchanges = traffic("openai-responses-stream-tools")
            question = exchanges[0].request["input"][0]["content"]
            with Provider(exchanges) as provider:
                openai = record(AsyncOpenAI(base_url=provider.url, api_key="x", max_retries=0))
                made: Agent[Any] = Agent(name="a", model=OpenAIResponsesModel("gpt-4o", openai), tools=[get_capital])
                await went_through(made, question, client.session("s"), stream=True)
            steps = (await client.session("s").state()).steps
            assert [found.kind for found in steps if found.kind not in ("session", "run")] == ["model", "tool", "model"]

    asyncio.run(main())


@pytest.fixture
def loop() -> Iterator[None]:
    """The SDK keeps the loop of plain code open, for the next call; here nobody would close it."""
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield
    asyncio.set_event_loop(None)
    made.close()


@pytest.mark.usefixtures("loop")
def test_within_ones_own_agent_and_outside_a_run(tmp_path: Path) -> None:
    made, model = scripted([assistant_message("one")], [assistant_message("two")], [assistant_message("three")])
    instrument(made)
    instrument(made)
    assert Runner.run_sync(made, "hi").final_output == "one"

    @agent
    def own(question: str) -> list[str]:
        first = Runner.run_sync(made, question).final_output
        return [first, shout(first)]

    @step
    def shout(text: str) -> str:
        return text.upper()

    with Client(tmp_path) as client:
        session = client.session("s")
        assert session.run(own, "hi") == ["two", "TWO"]
        assert session.replay(own).identical
        kinds = [found.kind for found in session.state().steps]
        assert kinds == ["model", "function"]
    assert len(model.calls) == 2


def test_rules_take_a_secret_out_before_anybody_sees_it(tmp_path: Path) -> None:
    async def main() -> None:
        redact = Redact(patterns={"key": r"sk-\w+"})
        async with AsyncClient(tmp_path, redact=redact) as client:
            steps: Any = [[function_call("find", {}, call_id="c")], [assistant_message("it is sk-hidden, I think")]]

            @function_tool
            def find() -> str:
                """Finds it."""
                return "sk-hidden"

            made, model = scripted(*steps, tools=[find])
            result, seen = await went_through(made, "hi", client.session("s"), stream=True)
            assert "sk-hidden" not in result.final_output
            assert "sk-hidden" not in json.dumps(model.calls[-1].input)
            assert "sk-hidden" not in json.dumps(seen[:-1], default=str)
        [database] = tmp_path.rglob("*.db")
        assert b"sk-hidden" not in database.read_bytes()

    asyncio.run(main())


# --- size ------------------------------------------------------------------------------------------------------------

TURNS = 100


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_hundred_turns_cost_in_proportion_to_what_is_new_in_them(tmp_path: Path, *, stream: bool) -> None:
    """And, where they were streamed, to the bytes of that."""
    words = [
        f"{n:04d} " + " ".join(f"{(n * 7919 + k * 104729) % 99991:05d}" for k in range(160)) for n in range(2 * TURNS)
    ]

    @function_tool
    def look(at: int) -> str:
        """Looks."""
        return words[at]

    async def main() -> tuple[int, int]:
        steps: Any = [
            [
                assistant_message(words[TURNS + n], item_id=f"msg_{n}"),
                function_call("look", {"at": n}, call_id=f"call_{n}"),
            ]
            for n in range(TURNS)
        ]
        made, _ = scripted(*steps, [assistant_message("done")], tools=[look])
        async with AsyncClient(tmp_path) as client:
            if not stream:
                result: Any = await run_durable(made, "hi", client.session("s"), max_turns=None)
                return len(json.dumps(result.to_input_list())), 0
            result = run_durable_streamed(made, "hi", client.session("s"), max_turns=None)
            raw = [event async for event in result.stream_events() if event.type == "raw_response_event"]
            return len(json.dumps(result.to_input_list())), sum(len(json.dumps(told(event))) for event in raw)

    items, sent = asyncio.run(main())
    [database] = tmp_path.rglob("*.db")
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert disk <= 3 * items + 0.4 * sent, f"{disk / items:.2f}, {sent / items:.2f}"


def test_the_group_is_the_session(tmp_path: Path) -> None:
    """The provider's cache key is made of it: stable over the session's runs, not a new one each."""

    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            groups: list[Any] = []

            @function_tool
            def look(context: ToolContext[Any]) -> str:
                """Looks."""
                groups.append(context.run_config and context.run_config.group_id)
                return "x"

            steps: Any = [[function_call("look", {}, call_id="c")], [assistant_message("done")]]
            config = RunConfig()
            for given in (config, None, RunConfig(group_id="mine")):
                await run_durable(scripted(*steps, tools=[look])[0], "hi", client.session("s/1"), run_config=given)
            assert groups == ["s/1", "s/1", "mine"]
            assert config.group_id is None  # the caller's own is left as it is

    asyncio.run(main())
