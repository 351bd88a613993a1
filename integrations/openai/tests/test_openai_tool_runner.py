"""The tool runner of later releases of the SDK: in a run it needs no ledger, and one that it has is told the same."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from openai_kit import RESPONSE, sync_client
from support.provider import Provider, traffic

from agentstream import Client, agent, step

EXCHANGES = traffic("openai-responses-tool-call")
sdk: Any = None
with suppress(ImportError):  # an earlier release has none
    sdk = import_module("openai.lib.responses_tool_runner")


@pytest.mark.parametrize("kept", [False, True], ids=["no ledger", "ledger"])
def test_a_crash_in_a_tool_repeats_no_call_of_the_model(tmp_path: Path, *, kept: bool) -> None:
    """With a ledger alone that run could not go on: it stood at a pending call."""
    if sdk is None:
        return
    done: list[str] = []
    told: list[list[str]] = []
    with Provider(EXCHANGES) as provider, Client(tmp_path) as client, sync_client(provider) as openai:

        @step(kind="tool")
        def get_capital(country: str) -> str:
            done.append(country)
            if len(done) == 1:
                raise KeyboardInterrupt("the process goes down in a tool")
            return "Potato City"

        def look_up(arguments: dict[str, Any]) -> str:
            return get_capital(arguments["country"])

        [tool] = RESPONSE.request["tools"]

        @agent
        def asks() -> str:
            phases: list[str] = []
            told.append(phases)
            save: Any = lambda checkpoint: phases.append(checkpoint["phase"])  # noqa: E731
            ledger = sdk.ResponsesToolLedger("r", save) if kept else None
            runner = sdk.ResponsesToolRunner(functions=[sdk.RegisteredFunction(tool, look_up)])
            params = {"model": "gpt-4o", "input": RESPONSE.request["input"]}
            return runner.run(openai, params, ledger=ledger).output_text

        session = client.session("s")
        with pytest.raises(BaseException, match=r"goes down|runner|Tool"):
            session.run(asks)
        assert session.run(asks) == "The capital of PotatoLand is Potato City."
        assert len(provider.billed) == 2
        assert done == ["PotatoLand"] * 2
        provider.close()
        report = session.replay(asks)
        assert report.identical, report
        assert done == ["PotatoLand"] * 2
        assert told[-1] == told[-2]
        assert bool(told[-1]) is kept
