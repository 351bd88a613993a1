"""Tool calls, MCP's lists of tools, and guardrails as steps."""

from __future__ import annotations

import functools
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agents import FunctionTool
from mcp.types import Tool as MCPTool

from agentstream.adapters import aopen_step, recording
from agentstream.adapters.making import amade
from agentstream_openai_agents._marks import is_marked, marked
from agentstream_openai_agents._values import kept, whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agents.mcp import MCPServer

edited: ContextVar[dict[str, dict[str, Any]] | None] = ContextVar("agentstream_openai_agents_edited", default=None)
"""By call id: other values that a person gave some arguments of an approved call."""


def instrument_tool(tool: FunctionTool) -> None:
    """Makes each call of a function tool (also an MCP server's) a step, known by the id of the model's call.

    The function inside is wrapped, not `on_invoke_tool` around it: so the tool stays what it is for the SDK, an error
    is recorded as the tool raised it, and what the model is told of it is made by the tool's own rule each time.
    """
    invoker: Any = tool.on_invoke_tool
    inner = getattr(invoker, "_invoke_tool_impl", None)
    if is_marked(inner or invoker):
        return
    if inner is not None:
        invoker._invoke_tool_impl = _recorded(tool.name, inner)
    else:
        tool.on_invoke_tool = _recorded(tool.name, invoker)


def _recorded(name: str, function: Callable[[Any, str], Awaitable[Any]]) -> Callable[[Any, str], Awaitable[Any]]:
    @marked
    @functools.wraps(function)
    async def invoked(context: Any, arguments: str) -> Any:
        if not recording():
            return await function(context, arguments)
        id = getattr(context, "tool_call_id", None)
        arguments = _edited(id, arguments)
        asked = {"id": id, "arguments": _parsed(arguments)}
        call = await aopen_step("tool", getattr(context, "tool_name", None) or name, asked)
        return await amade(call, lambda: function(context, arguments), kept=kept, whole=whole)

    return invoked


def _edited(id: Any, arguments: str) -> str:
    changed = (edited.get() or {}).get(str(id))
    asked = _parsed(arguments)
    return json.dumps({**asked, **changed}) if changed and isinstance(asked, dict) else arguments


def _parsed(arguments: str) -> Any:
    """The arguments as the model wrote them: the text, where it is no JSON."""
    try:
        return json.loads(arguments) if arguments else {}
    except ValueError:
        return arguments


def instrument_server(server: MCPServer) -> None:
    """Makes each look at what tools an MCP server has a step: a replay tells the model of the same."""
    function = server.list_tools
    if is_marked(function):
        return

    @marked
    @functools.wraps(function)
    async def list_tools(*args: Any, **kwargs: Any) -> list[MCPTool]:
        if not recording():
            return await function(*args, **kwargs)
        call = await aopen_step("mcp", "tools/list", {"server": server.name})
        return await amade(
            call,
            lambda: function(*args, **kwargs),
            kept=lambda tools: [tool.model_dump(mode="json", by_alias=True, exclude_unset=True) for tool in tools],
            whole=lambda forms: [MCPTool.model_validate(form) for form in forms],
        )

    server.list_tools = list_tools  # type: ignore[method-assign]
