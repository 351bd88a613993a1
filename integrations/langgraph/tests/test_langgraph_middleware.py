"""`create_agent` with the middleware: a crash in the middle of a node repeats no model call and no tool call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agentstream_langgraph import StreamSaver
from agentstream_langgraph.middleware import Recorded
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.types import Command, interrupt
from langgraph_kit import client_on, in_context

THREAD: Any = {"configurable": {"thread_id": "t"}}
CALL = {"name": "pay", "args": {"euros": 3}, "id": "call_1", "type": "tool_call"}
USAGE: Any = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}


class Scripted(FakeMessagesListChatModel):
    """Counts its calls."""

    calls: list[str]

    def bind_tools(self, tools: Any, **named: Any) -> Any:
        return self

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("model")
        return super()._generate(*args, **kwargs)


class Crashes(AgentMiddleware[Any, Any, Any]):
    """Falls over just after a call came back: as a process does that is killed in the middle of a node."""

    def __init__(self, *after: str) -> None:
        super().__init__()
        self.after = list(after)

    def _trip(self, what: str) -> None:
        if what in self.after:
            self.after.remove(what)
            raise ConnectionError(what)

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        made = handler(request)
        self._trip("model")
        return made

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        made = handler(request)
        self._trip("tool")
        return made

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        made = await handler(request)
        self._trip("model")
        return made

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        made = await handler(request)
        self._trip("tool")
        return made


@pytest.mark.parametrize("way", ["sync", pytest.param("async", marks=in_context)])
def test_no_call_is_repeated(way: str, tmp_path: Path) -> None:
    paid: list[int] = []

    @tool
    def pay(euros: int) -> str:
        """Pays."""
        paid.append(euros)
        return f"paid {euros}"

    model = Scripted(responses=[AIMessage("", tool_calls=[CALL], usage_metadata=USAGE), AIMessage("Done.")], calls=[])
    crashes = Crashes("model", "tool")
    with client_on("disk", tmp_path) as client:
        agent: Any = create_agent(model, [pay], middleware=[crashes, Recorded()], checkpointer=StreamSaver(client))

        def invoke(given: Any) -> Any:
            if way == "sync":
                return agent.invoke(given, THREAD)
            return asyncio.run(agent.ainvoke(given, THREAD))

        given: Any = {"messages": [("user", "Pay 3 euros")]}
        for _ in range(2):
            with pytest.raises(ConnectionError):
                invoke(given)
            given = None
        said = invoke(None)["messages"]
        assert [message.content for message in said] == ["Pay 3 euros", "", "paid 3", "Done."]
        assert said[1].tool_calls == [CALL]
        assert said[1].usage_metadata == USAGE
        assert (model.calls, paid) == (["model", "model"], [3])
        state = client.session("langgraph/t").state()
        assert [(step.kind, step.name) for step in state.steps if step.kind != "node"] == [
            ("model", "Scripted"), ("tool", "pay"), ("model", "Scripted")
        ]  # fmt: skip
        assert state.usage["input_tokens"] == 7


def test_a_tool_may_ask(tmp_path: Path) -> None:
    @tool
    def pay(euros: int) -> str:
        """Pays."""
        return f"paid {euros}: {interrupt('Sure?')}"

    model = Scripted(responses=[AIMessage("", tool_calls=[CALL]), AIMessage("Done.")], calls=[])
    with client_on("memory", tmp_path) as client:
        agent: Any = create_agent(model, [pay], middleware=[Recorded()], checkpointer=StreamSaver(client))
        assert "__interrupt__" in agent.invoke({"messages": [("user", "Pay")]}, THREAD)
        said = agent.invoke(Command(resume="yes"), THREAD)["messages"]
        assert [message.content for message in said[2:]] == ["paid 3: yes", "Done."]


def test_without_a_saver_it_does_nothing() -> None:
    model = Scripted(responses=[AIMessage("Done.")], calls=[])
    agent: Any = create_agent(model, [], middleware=[Recorded()])
    assert agent.invoke({"messages": [("user", "?")]})["messages"][-1].content == "Done."
