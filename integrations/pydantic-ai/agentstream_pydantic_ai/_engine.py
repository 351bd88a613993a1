"""`AgentStreamDurability`: Pydantic AI's own durable operations, each a step of the session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args, get_type_hints

from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationId,
    JournalCallableOperationBackend,
    ModelCompactMessagesId,
    ModelRequestId,
    RoleBasedOperationConfig,
    ToolsetCallToolId,
)
from pydantic_ai.models import Model
from pydantic_ai.tools import AgentDepsT

from agentstream.adapters import aopen_step, recording
from agentstream.adapters.making import amade
from agentstream_pydantic_ai._asked import asked
from agentstream_pydantic_ai._capability import InSession
from agentstream_pydantic_ai._messages import response_of, told_response
from agentstream_pydantic_ai._telling import said, usage_of
from agentstream_pydantic_ai._tools import is_step, plain

_Effect = Literal["repeat", "once"]

_LIFECYCLES = get_args(get_args(get_type_hints(DurabilityEngineSpec)["toolset_lifecycles"])[1])
_HELD: Any = "enter-in-durable-unit"
"""One connection a run, made by the first step that needs it; versions without it make one a step."""

_MARK = "pydantic_ai"
"""Stands in a recorded result that is more than the value a tool returned."""


class AgentStreamDurability(InSession[AgentDepsT], BaseDurabilityCapability[AgentDepsT]):
    """Makes every durable operation of an agent a step, wherever a session's run is about; outside it does nothing.

    It stands in for `Recorded`, on the framework's own interface for durable execution: what a server or a function
    says of its tools, their instructions, checks of arguments, compactions, work in a workspace and capabilities' own
    operations are served from the record too. An answer is handed on whole, once it has come. The agent needs a
    `name`, its toolsets an `id`, which are kept as they are; UserError where one is missing, two toolsets share an id,
    or a run is given a model or toolset that the agent was not made with.

    - `models`: further models that a run may be given, by the names under which it is.
    - `event_stream_handler`: is given the model's events as they come, and those of tools, each once.
    - `name`: in place of the agent's.
    - `once`, `through`, `ask`, `memory`: as those of `Recorded`. An MCP server's tools cannot be in `through`.
    """

    engine_spec = DurabilityEngineSpec(
        engine_name="agentstream",
        durable_unit_noun="step",
        durable_container_noun="run",
        codec=JSON_CODEC,
        wrapped_toolset_kinds=frozenset(("function", "mcp", "dynamic")),
        unsupported_runtime_toolset_kinds=frozenset(("function", "mcp", "dynamic")),
        toolset_lifecycles={
            "function": "enter-always",
            "mcp": _HELD if _HELD in _LIFECYCLES else "enter-never",
            "dynamic": "enter-never",
        },
    )

    def __init__(
        self,
        *,
        models: Mapping[str, Model] | None = None,
        event_stream_handler: EventStreamHandler[AgentDepsT] | None = None,
        name: str | None = None,
        once: Collection[str] = (),
        through: Collection[str] = (),
        ask: bool = True,
        memory: bool = True,
    ) -> None:
        if models is not None and not isinstance(models, Mapping):
            raise TypeError(f"models= are models by the names under which a run is given them, not {models!r:.100}")
        super().__init__(models=models, event_stream_handler=event_stream_handler, name=name)
        self.once, self.through, self.ask, self.memory = once, through, ask, memory

    @property
    def in_durable_context(self) -> bool:
        """Whether what is done here and now becomes a step."""
        return recording()

    def get_durable_operation_backend(self) -> _Steps:
        """Makes steps of the operations."""
        config = RoleBasedOperationConfig[_Effect](
            model="repeat", event="repeat", capability="repeat", tool="repeat", resolve_tool=self._effect_of
        )
        return _Steps(agent_name=self.name, default_model_id=self.default_model_id, config=config)

    def _effect_of(self, operation: DurableOperationId, tool: Any, name: str) -> _Effect | Literal[False]:
        is_mcp = getattr(operation, "toolset_kind", None) == "mcp"
        if tool is not None and not is_mcp and (name in self.through or is_step(tool)):
            return False
        return "once" if name in self.once and isinstance(operation, ToolsetCallToolId) else "repeat"


class _Whole:
    """Gives a step all that its operation is given: what is recorded of it is chosen here, not by the framework."""

    def project(self, params: Any) -> tuple[object, ...]:
        return (params,)


class _Steps(JournalCallableOperationBackend[_Effect]):
    """Each operation is a step of the calling code's lane."""

    def bind(self, operation: Any) -> Any:
        return super().bind(replace(operation, cache_identity=_Whole()))

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: _Effect,
    ) -> object:
        """What the operation gives, in its codec's JSON; from the record if it is there."""
        if not recording():
            return await body()
        given = _given(*cache_key)
        if isinstance(operation_id, ToolsetCallToolId):
            call = await aopen_step("tool", name, given, effect=config)
            return await amade(call, body, kept=_plain_result, whole=_whole_result)
        if not isinstance(operation_id, (ModelRequestId, ModelCompactMessagesId)):
            return await amade(await aopen_step("task", name, given), body)
        call, model = await aopen_step("model", name, given), operation_id.model_name
        return await amade(
            call,
            body,
            kept=_plain_answer,
            whole=lambda kept: kept if "events" in kept else kept["response"],
            usage=lambda payload: usage_of(_response(payload)),
            told=lambda payload: said(answer := _response(payload), answer.provider_response_id or call.key, model),
        )


def _response(payload: Any) -> Any:
    return response_of(payload["response"] if "events" in payload else payload)


def _plain_answer(payload: Any) -> dict[str, Any]:
    """An answer, equal to what later requests repeat of it, and its events if the framework has them recorded."""
    events = {"events": payload["events"]} if "events" in payload else {}
    return {"response": told_response(_response(payload)), **events}


def _plain_result(payload: Any) -> Any:
    """What a tool returned as it is, so that a person can give it in its place; what else came of it, marked."""
    result = payload.get("result")
    is_plain = payload == {"kind": "tool_return", "result": result} and not _is_marked(result)
    return result if is_plain else {_MARK: payload}


def _whole_result(kept: Any) -> Any:
    return kept[_MARK] if _is_marked(kept) else {"kind": "tool_return", "result": kept}


def _is_marked(value: Any) -> bool:
    return isinstance(value, dict) and _MARK in value


def _given(params: Any) -> Any:
    """What an operation is given, by which its step is matched: without what differs from process to process."""
    if hasattr(params, "tool_args"):
        approved = {"approved": True} if params.ctx.tool_call_approved else {}
        return {"name": params.name, "id": params.ctx.tool_call_id, "arguments": plain(params.tool_args), **approved}
    if hasattr(params, "ctx"):  # what tools are there
        return {"run_step": params.ctx.run_step}
    if hasattr(params, "messages"):
        return asked(params.messages, params.model_settings, params.model_request_parameters)
    if (request := getattr(params, "request_context", None)) is not None:
        summary = asked(request.messages, request.model_settings, request.model_request_parameters)
        return {**summary, "compact": params.instructions or True}
    if hasattr(params, "event"):
        return {"event": params.event.event_kind}
    if hasattr(params, "call"):  # in a workspace; an environment's values let somebody in
        return {name: value for name, value in vars(params.call).items() if value and name != "env"}
    return _known(getattr(params, "arguments", None))


def _known(value: Any) -> Any:
    """What can be told of a capability's arguments: an object among them by its class alone."""
    if isinstance(value, Mapping):
        return {str(name): _known(one) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [_known(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
