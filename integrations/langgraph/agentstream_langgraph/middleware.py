"""Middleware for LangChain's `create_agent`: model and tool calls as steps.

from agentstream_langgraph.middleware import Recorded

agent = create_agent(model, tools, middleware=[…, Recorded()], checkpointer=StreamSaver(client))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelResponse
from langchain_core.messages import AIMessage, SystemMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.errors import GraphBubbleUp

from agentstream.adapters import StepCall, aopen_step, muted, open_step, recording
from agentstream_langgraph._forms import form_of, typed_of
from agentstream_langgraph._readable import message_of
from agentstream_langgraph._redacting import redacted
from agentstream_langgraph._serializing import dumped


class Recorded(AgentMiddleware[Any, Any, Any]):
    """Records each model call and each tool call of an agent as a step, in a graph with a StreamSaver and in a run.

    A crash in the middle of a node does not repeat them. Put it last, so that what other middleware does around a call
    is done again and sees what it saw. `models=False` or `tools=False` leaves these to others: a tool that makes steps
    of its own is one step as a whole here.
    """

    def __init__(self, *, models: bool = True, tools: bool = True) -> None:
        super().__init__()
        self._models = models
        self._tools = tools

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Serves the model's answer from the record, or makes the call and records it."""
        if not self._models or not recording():
            return handler(request)
        asked, places = _asked(request), _changeable(request.model)
        call = open_step("model", _model(request.model), asked, changeable=places)
        return _made(call, lambda: handler(_changed(request, call)))

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """As `wrap_model_call`."""
        if not self._models or not recording():
            return await handler(request)
        asked, places = _asked(request), _changeable(request.model)
        call = await aopen_step("model", _model(request.model), asked, changeable=places)
        return await _amade(call, lambda: handler(_changed(request, call)))

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Serves the tool's result from the record, or calls it and records that."""
        if not self._tools or not recording():
            return handler(request)
        return _made(open_step("tool", *_called(request)), lambda: handler(request))

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """As `wrap_tool_call`."""
        if not self._tools or not recording():
            return await handler(request)
        return await _amade(await aopen_step("tool", *_called(request)), lambda: handler(request))


def _made(call: StepCall, make: Callable[[], Any]) -> Any:
    if call.served is not None:
        return _whole(call.served.value())
    with call.underway():
        try:
            with muted():
                result = make()
            kept = _kept(result, call.rules)
        except GraphBubbleUp:
            raise  # an interrupt, say: the call has no outcome yet
        except Exception as error:
            call.fail(error)
            raise
        call.finish(kept, usage=_usage(result))
    return _whole(kept) if call.rules.active else result


async def _amade(call: StepCall, make: Callable[[], Awaitable[Any]]) -> Any:
    if call.served is not None:
        return _whole(call.served.value())
    with call.underway():
        try:
            with muted():
                result = await make()
            kept = _kept(result, call.rules)
        except GraphBubbleUp:
            raise
        except Exception as error:
            await call.afail(error)
            raise
        await call.afinish(kept, usage=_usage(result))
    return _whole(kept) if call.rules.active else result


# --- what is asked ---------------------------------------------------------------------------------------------------


def _model(model: Any) -> str:
    named = (getattr(model, name, None) for name in ("model_name", "model"))
    return next((name for name in named if isinstance(name, str) and name), type(model).__name__)


def _changeable(model: Any) -> bool | tuple[str, ...]:
    """What of a request a replay that runs on may change: the system prompt, and a model that says its name."""
    return ("model",) if _name_of(model) else True


def _name_of(model: Any) -> str | None:
    """The field of a model that has its name."""
    fields = getattr(type(model), "model_fields", {})
    return next((name for name in ("model_name", "model") if name in fields), None)


def _changed(request: Any, call: StepCall) -> Any:
    """The request with what the replay sends instead."""
    changes = call.changed
    if changes is None:
        return request
    other: dict[str, Any] = {}
    name = _name_of(request.model)
    if changes.model is not None and name is not None:
        other["model"] = request.model.model_copy(update={name: changes.model})
    if changes.system is not None:
        other["system_message"] = SystemMessage(changes.system)
    return request.override(**other)


def _asked(request: Any) -> dict[str, Any]:
    system = request.system_message
    return {
        "messages": [_said(message) for message in (*([system] if system else ()), *request.messages)],
        "tools": [tool.get("name") if isinstance(tool, dict) else tool.name for tool in request.tools],
        **({"tool_choice": str(request.tool_choice)} if request.tool_choice is not None else {}),
        **_settings(request.model_settings or {}),
    }


def _settings(settings: dict[str, Any]) -> dict[str, Any]:
    """What can be told of a model's settings: an object among them by its class alone."""
    plain = (str, int, float, bool, list, dict, type(None))
    told = {name: value if isinstance(value, plain) else type(value).__name__ for name, value in settings.items()}
    return {"settings": told} if told else {}


def _said(message: Any) -> dict[str, Any]:
    """What a message says to the model: its id is nothing to that."""
    said, _ = message_of(message)
    return {name: part for name, part in said.items() if name not in ("id", "usage")}


def _called(request: Any) -> tuple[str, dict[str, Any]]:
    call = request.tool_call
    return str(call["name"]), {"id": call.get("id"), "arguments": call.get("args")}


# --- what comes of it ------------------------------------------------------------------------------------------------

_SERDE = JsonPlusSerializer()


def _kept(result: Any, rules: Any) -> dict[str, Any]:
    """The recorded form; what rules take out is taken out before, for they cannot look into it."""
    parts = [result.result, result.structured_response] if isinstance(result, ModelResponse) else result
    kind = {"model": True} if isinstance(result, ModelResponse) else {}
    typed = dumped(_SERDE.dumps_typed, parts, "the result")
    return {**kind, "kept": form_of(redacted(typed, rules, ("result",)) if rules.active else typed)}


def _whole(kept: Any) -> Any:
    made = _SERDE.loads_typed(typed_of(kept["kept"]))
    return ModelResponse(result=made[0], structured_response=made[1]) if kept.get("model") else made


def _usage(result: Any) -> dict[str, Any] | None:
    messages: Any = result.result if isinstance(result, ModelResponse) else ()
    usage = next((message.usage_metadata for message in messages if isinstance(message, AIMessage)), None)
    return {name: count for name, count in usage.items() if isinstance(count, int)} if usage else None
