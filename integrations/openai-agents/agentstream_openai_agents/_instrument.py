"""`instrument`: an agent and all that it works with, in place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from agents import Agent, FunctionTool, Handoff, ModelProvider, RunConfig
from agents.guardrail import InputGuardrail, OutputGuardrail
from agents.mcp import MCPServer
from agents.models.interface import Model
from agents.run import AgentRunner

from agentstream.adapters import recording
from agentstream_openai_agents._guardrails import instrument_guardrail
from agentstream_openai_agents._marks import is_marked, marked
from agentstream_openai_agents._models import instrument_model, instrument_provider
from agentstream_openai_agents._tools import instrument_server, instrument_tool

T = TypeVar("T")


def instrument(thing: T) -> T:
    """Makes what an agent does to the outside steps of the run it is called in; gives back the same object.

    An agent is instrumented with its model, tools, guardrails and MCP servers, and so are the agents that it hands off
    to or uses as tools, also those that come later. Outside a run all of them work as before. To do it again changes
    nothing. A RunConfig (for models that are known by name: its provider finds them), a Model, a ModelProvider, a
    FunctionTool, an MCP server, a guardrail and a Handoff can be given too. TypeError for anything else.
    """
    seen: set[int] = set()
    queue: list[Any] = [thing]
    while queue:
        one = queue.pop()
        if id(one) not in seen:
            seen.add(id(one))
            queue += _instrumented(one, asked_for=one is thing)
    return thing


def _instrumented(thing: Any, *, asked_for: bool) -> Iterator[Any]:
    """Instruments one object, and gives those that belong to it."""
    if isinstance(thing, Agent):
        _instrument_agent(thing)
        yield from thing.tools
        yield from thing.handoffs
        yield from thing.mcp_servers
        yield from (*thing.input_guardrails, *thing.output_guardrails)
        yield thing.model
    elif isinstance(thing, FunctionTool):
        used = getattr(thing, "_agent_instance", None)
        if used is not None:
            yield used  # its own calls are the steps; the tool around them is none
        else:
            instrument_tool(thing)
    elif isinstance(thing, Handoff):
        _instrument_handoff(thing)
    elif isinstance(thing, Model):
        instrument_model(thing)
    elif isinstance(thing, ModelProvider):
        instrument_provider(thing)
    elif isinstance(thing, MCPServer):
        instrument_server(thing)
    elif isinstance(thing, (InputGuardrail, OutputGuardrail)):
        instrument_guardrail(thing)
    elif isinstance(thing, RunConfig):
        yield thing.model_provider
        yield thing.model
        yield from (*(thing.input_guardrails or ()), *(thing.output_guardrails or ()))
    elif asked_for:
        raise TypeError(
            "instrument() takes an Agent, or a RunConfig, Model, ModelProvider, FunctionTool, MCPServer, guardrail or "
            f"Handoff, not {type(thing).__module__}.{type(thing).__name__}"
        )


def _instrument_agent(agent: Agent[Any]) -> None:
    """Its tools are asked for before each model call: what was added meanwhile, and MCP's tools, are found then."""
    find = agent.get_all_tools
    if is_marked(find) and getattr(find, "_agentstream_of", None) == id(agent):
        return

    @marked
    @functools.wraps(find)
    async def get_all_tools(*args: Any, **kwargs: Any) -> Any:
        for server in agent.mcp_servers:
            instrument(server)
        tools = await find(*args, **kwargs)
        for tool in tools:
            if isinstance(tool, FunctionTool):
                instrument(tool)
        return tools

    get_all_tools._agentstream_of = id(agent)  # type: ignore[attr-defined]
    agent.get_all_tools = get_all_tools  # type: ignore[method-assign]
    _instrument_runner()


def _instrument_runner() -> None:
    """A model that is known by its name is found through the run's config, which is made in the Runner: there it is
    instrumented, for the agents that are, in a run."""
    for name in ("run", "run_streamed"):
        function = getattr(AgentRunner, name)
        if not is_marked(function):
            setattr(AgentRunner, name, _configured(function))


def _configured(function: Callable[..., Any]) -> Callable[..., Any]:
    @marked
    @functools.wraps(function)
    def configured(runner: Any, starting_agent: Any, *args: Any, **kwargs: Any) -> Any:
        if recording() and is_marked(getattr(starting_agent, "get_all_tools", None)):
            kwargs["run_config"] = instrument(config_of(kwargs.get("run_config")))
        return function(runner, starting_agent, *args, **kwargs)

    return configured


def config_of(given: RunConfig | dict[str, Any] | None) -> RunConfig:
    """What may be given as a run's config, as one."""
    return RunConfig(**given) if isinstance(given, dict) else given or RunConfig()


def _instrument_handoff(handoff: Handoff[Any, Any]) -> None:
    """The agent that a handoff leads to is known when it is made."""
    invoke = handoff.on_invoke_handoff
    if is_marked(invoke):
        return

    @marked
    @functools.wraps(invoke)
    async def on_invoke_handoff(*args: Any, **kwargs: Any) -> Any:
        agent = await invoke(*args, **kwargs)
        return instrument(agent) if isinstance(agent, Agent) else agent

    handoff.on_invoke_handoff = on_invoke_handoff
