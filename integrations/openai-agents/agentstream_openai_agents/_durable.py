"""Durable runs of an agent: what `Runner.run` does, as a run of a session."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypedDict

from agents import Agent, RunConfig, Runner, RunResult, RunResultStreaming
from agents.items import ToolApprovalItem, TResponseInputItem
from agents.memory import Session

import agentstream
from agentstream.adapters import recording
from agentstream.adapters.here import run_here
from agentstream.adapters.making import atold
from agentstream.adapters.people import Verdict, aapprove
from agentstream_openai_agents._instrument import config_of, instrument
from agentstream_openai_agents._session import AgentStreamSession
from agentstream_openai_agents._tools import edited
from agentstream_openai_agents._values import kept

if TYPE_CHECKING:
    from agents import RunHooks
    from agents.run_error_handlers import RunErrorHandlers

Input = str | list[TResponseInputItem]
Result = RunResult | RunResultStreaming


class Options(TypedDict, total=False):
    """What `Runner.run` takes besides the agent and its input."""

    context: Any
    max_turns: int | None
    hooks: RunHooks[Any] | None
    run_config: RunConfig | dict[str, Any] | None
    error_handlers: RunErrorHandlers[Any] | None
    previous_response_id: str | None
    auto_previous_response_id: bool
    conversation_id: str | None
    memory: Session | None
    """The conversation, as the SDK's `session`: that of the session by default."""


class Program:
    """One agent with its options, as what a session runs. `results` are what the Runner gave, in memory alone."""

    def __init__(
        self,
        starting: Agent[Any],
        options: Options,
        *,
        name: str | None = None,
        stream: Callable[[RunResultStreaming], Awaitable[None]] | None = None,
    ) -> None:
        """`stream`: runs streamed, and this goes through the events."""
        self.agent = starting
        self.options = options
        self.results: list[Result] = []
        self._stream = stream
        self.function = agentstream.agent(name=name or starting.name)(self._run)

    async def _run(self, input: Any) -> Any:
        edited.set({})
        config, stream = self._config(), await _way(self._stream is not None)
        result = await self._once(input, config, stream)
        while result.interruptions:
            state = result.to_state()
            for item, verdict in zip(result.interruptions, await _asked(result.interruptions), strict=True):
                if verdict.approved:
                    state.approve(item)
                else:
                    state.reject(item, rejection_message=verdict.reason)
            result = await self._once(state, config, stream)
        self.results.append(result)
        return kept(result.final_output)

    async def _once(self, input: Any, config: RunConfig, stream: bool) -> Result:
        options: dict[str, Any] = {**self.options, "run_config": config, "session": self._memory()}
        options.pop("memory", None)
        instrument(config)
        instrument(self.agent)
        if not stream:
            return await Runner.run(self.agent, input, **options)
        result = Runner.run_streamed(self.agent, input, **options)
        await (self._stream or _drained)(result)
        return result

    def _memory(self) -> Session | None:
        """The session's conversation; none where the provider keeps it."""
        if "memory" in self.options:
            return self.options["memory"]
        if any(
            self.options.get(name) for name in ("previous_response_id", "auto_previous_response_id", "conversation_id")
        ):
            return None
        return AgentStreamSession(agentstream.current_session())

    def _config(self) -> RunConfig:
        config = config_of(self.options.get("run_config"))
        changes: dict[str, Any] = {}
        if config.group_id is None:  # what the provider's cache key is made of
            changes["group_id"] = agentstream.current_session().id
        run = run_here()
        if run is not None and run.replaying:
            changes["tracing_disabled"] = True  # the SDK would send it out
        return dataclasses.replace(config, **changes)


async def _way(stream: bool) -> bool:
    """Whether the run is streamed: as it was begun, since the SDK makes other calls, in other tasks, for the two."""
    return bool(await atold("run", "streamed", {}, stream))


async def _drained(result: RunResultStreaming) -> None:
    async for _ in result.stream_events():
        pass


async def _asked(items: list[ToolApprovalItem]) -> list[Verdict]:
    """What people say of all calls that need it, asked at once."""
    return await asyncio.gather(*(_ask(item) for item in items))


async def _ask(item: ToolApprovalItem) -> Verdict:
    id, arguments = _said(item, "call_id", "id"), _said(item, "arguments")
    try:
        told = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        told = arguments
    told = told if isinstance(told, dict) else {"arguments": told}
    if not recording():
        raise agentstream.AgentStreamError("a durable run was called inside a step, where nobody can be asked")
    verdict = await aapprove(item.tool_name or "a tool", told, key={"id": id})
    if verdict.changed:
        changed = edited.get()
        if changed is not None:
            changed[str(id)] = verdict.changed
    return verdict


def _said(item: ToolApprovalItem, *names: str) -> Any:
    raw: Any = item.raw_item
    values = (raw.get(name) if isinstance(raw, dict) else getattr(raw, name, None) for name in names)
    return next((value for value in values if value is not None), None)
