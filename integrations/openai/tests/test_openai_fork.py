"""A fork after a tool's result: the calls before the cut are shared, neither paid again nor done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai_kit import RESPONSE_STREAM, RESPONSE_STREAM_ANSWER, sync_client, without
from support.provider import Exchange, Provider, traffic

from agentstream import Client, agent, step

WHOLE = traffic("openai-responses-tool-call")
EXCHANGES: dict[str, list[Exchange]] = {"whole": WHOLE, "streamed": [RESPONSE_STREAM, RESPONSE_STREAM_ANSWER]}


def asker(openai: OpenAI, exchanges: list[Exchange], done: list[str]) -> Any:
    """Asks, does the tool, notes it down, and asks again with what the tool said."""
    request = exchanges[0].request

    @step(kind="tool")
    def get_capital(country: str) -> str:
        done.append(f"looked up {country}")
        return f"the capital of {country}"

    @step(effect="once")
    def note(found: str) -> None:
        done.append(f"noted {found}")

    def ask(said: list[Any]) -> Any:
        answer = openai.responses.create(**without(request, "input"), input=said)
        if not request["stream"]:
            return answer
        *_, last = answer
        return last.response

    @agent
    def asks() -> str:
        first = ask(request["input"])
        [call] = [item for item in first.output if item.type == "function_call"]
        found = get_capital(**json.loads(call.arguments))
        note(found)
        output = {"type": "function_call_output", "call_id": call.call_id, "output": found}
        return ask([*request["input"], call, output]).output_text

    return asks


@pytest.mark.parametrize("mode", EXCHANGES)
def test_a_fork_after_a_tools_result_goes_on_from_there(mode: str, tmp_path: Path) -> None:
    exchanges, done = EXCHANGES[mode], list[str]()
    with Provider(exchanges) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        asks = asker(openai, exchanges, done)
        session = client.session("s")
        answer = session.run(asks)
        assert "capital" in answer
        looked, noted = done
        [tool] = [found for found in session.state().steps if found.name == "get_capital"]
        assert tool.outcome is not None
        branch = session.fork("b", at=tool.outcome)
        assert branch.run(asks) == answer
        assert done == [looked, noted, noted]
        first, last, again = provider.billed
        assert (again, len(first["input"]), len(last["input"])) == (last, 1, 3)
        provider.close()
        assert branch.replay(asks).identical
        assert session.replay(asks).identical


def test_a_fork_with_another_tools_result_asks_with_that(tmp_path: Path) -> None:
    done: list[str] = []
    with Provider(WHOLE) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        asks = asker(openai, WHOLE, done)
        session = client.session("s")
        session.run(asks)
        [tool] = [found for found in session.state().steps if found.name == "get_capital"]
        session.fork("b", replace={tool.key: "somewhere else"}).run(asks)
        assert done[2:] == ["noted somewhere else"]
        outputs = [request["input"][-1].get("output") for request in provider.billed]
        assert outputs == [None, "the capital of PotatoLand", "somewhere else"]
