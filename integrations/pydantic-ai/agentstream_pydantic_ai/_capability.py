"""`Recorded`: the capability that makes an agent's runs durable."""

from __future__ import annotations

from collections.abc import AsyncIterable, Collection
from dataclasses import KW_ONLY, dataclass
from typing import Any

from pydantic_ai import AgentRunResult
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.messages import AgentStreamEvent
from pydantic_ai.models import Model, ModelRequestContext
from pydantic_ai.tools import AgentDepsT, DeferredToolRequests, DeferredToolResults, RunContext
from pydantic_ai.toolsets import AbstractToolset

from agentstream.adapters import recording
from agentstream.adapters.engines import run_by
from agentstream_pydantic_ai._memory import inside_run, remember
from agentstream_pydantic_ai._model import RecordedModel
from agentstream_pydantic_ai._people import answered
from agentstream_pydantic_ai._tools import RecordedToolset

_WRAPS_MODELS = hasattr(AbstractCapability, "get_wrapper_model")
"""Whether this version asks for the wrapper of the model that serves a request."""


class InSession(AbstractCapability[AgentDepsT]):
    """What a durable agent does in a session, however its calls are recorded: it asks people, and remembers."""

    ask: bool
    memory: bool

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[AgentDepsT], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Asks people, where the session can."""
        return await answered(requests) if self.ask and recording() else None

    async def wrap_run(self, ctx: RunContext[AgentDepsT], *, handler: Any) -> AgentRunResult[Any]:
        """Remembers what was said, once the run has come to its end."""
        run_by("pydantic_ai", "pydantic_graph", "anyio")
        if inside_run.get():
            return await super().wrap_run(ctx, handler=handler)
        token = inside_run.set(True)
        try:
            result: AgentRunResult[Any] = await super().wrap_run(ctx, handler=handler)
        finally:
            inside_run.reset(token)
        if self.memory:
            await remember(_name(ctx), result.new_messages())
        return result


@dataclass
class Recorded(InSession[AgentDepsT]):
    """Makes each model call and each tool call of an agent a step, wherever a session's run is about.

    It is the innermost capability: what others do around a call is done again on resume and sees what it saw.

    - `once`: names of tools that must not happen twice: if a crash hides whether one did, the run stops with
      OutcomeUnknown.
    - `through`: names of tools that are no steps themselves, since they make steps: they run another agent that is to
      be resumed in the middle, or `ask`. Tools whose function is a `@step` are known for that.
    - `ask`: calls that need an approval, or whose result comes from elsewhere, become questions of the session; False
      leaves them to the agent (`DeferredToolRequests` as its output).
    - `live`: `agent.run()` streams from the model too, so that who follows the session sees tokens.
    - `memory`: what a run said is remembered in the session, for `history()`.
    """

    _: KW_ONLY
    id: str | None = "agentstream"  # an agent has one
    once: Collection[str] = ()
    through: Collection[str] = ()
    ask: bool = True
    live: bool = False
    memory: bool = True

    def get_ordering(self) -> CapabilityOrdering:
        """Innermost."""
        return CapabilityOrdering(position="innermost")

    def get_wrapper_model(self, model: Model) -> Model:
        """The model that serves a request, recorded."""
        return RecordedModel(model)

    async def before_model_request(
        self, ctx: RunContext[AgentDepsT], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Puts the recorded model in place, where the framework does not ask for it."""
        if not _WRAPS_MODELS and not isinstance(request_context.model, RecordedModel):
            request_context.model = RecordedModel(request_context.model)
        return request_context

    def get_wrapper_toolset(self, toolset: AbstractToolset[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        """The agent's tools, recorded."""
        return RecordedToolset(toolset, self.once, self.through)

    @property
    def has_wrap_run_event_stream(self) -> bool:
        """Only with `live`: else `agent.run()` would use the model's streaming interface."""
        return self.live

    async def wrap_run_event_stream(
        self, ctx: RunContext[AgentDepsT], *, stream: AsyncIterable[AgentStreamEvent]
    ) -> AsyncIterable[AgentStreamEvent]:
        """Hands all on."""
        async for event in stream:
            yield event


def _name(ctx: RunContext[Any]) -> str:
    return (ctx.agent.name if ctx.agent is not None else None) or "agent"
