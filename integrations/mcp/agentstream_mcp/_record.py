"""`record`: what code asks of an MCP server inside a run becomes steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from typing import Any, TypeVar

import mcp_types as types
from mcp import Client, ClientSession, MCPError
from pydantic import TypeAdapter

from agentstream.adapters import Served, StepCall, aopen_step, muted, recording

S = TypeVar("S", ClientSession, Client)

PROGRESS = "agentstream_progress"
"""Beside a result: how far the server said that the call was, in order."""

# of each method its name in the protocol, and what it gives
_ASKING: dict[str, tuple[str, Any]] = {
    "call_tool": ("tools/call", types.CallToolResult | types.InputRequiredResult),
    "list_tools": ("tools/list", types.ListToolsResult),
    "list_resources": ("resources/list", types.ListResourcesResult),
    "list_resource_templates": ("resources/templates/list", types.ListResourceTemplatesResult),
    "read_resource": ("resources/read", types.ReadResourceResult | types.InputRequiredResult),
    "list_prompts": ("prompts/list", types.ListPromptsResult),
    "get_prompt": ("prompts/get", types.GetPromptResult | types.InputRequiredResult),
    "complete": ("completion/complete", types.CompleteResult),
}
# arguments that say how a call is made, and not what is asked
_HOW = frozenset(
    ("read_timeout_seconds", "progress_callback", "meta", "allow_input_required", "allow_claimed", "cache_mode")
)
_NAMES = {"call_tool": ("name", "arguments", "read_timeout_seconds", "progress_callback"), "read_resource": ("uri",),
          "get_prompt": ("name", "arguments"), "complete": ("ref", "argument", "context_arguments")}  # fmt: skip

Method = Callable[..., Awaitable[Any]]


def record(session: S, *, once: Collection[str] = ()) -> S:
    """The same session (or high-level client): in a run, tool calls, listings, resources and prompts become steps.

    Each is asked once, and served from the record on resume, in a fork's shared history and on replay, with its
    progress and its errors; a session that is not connected will do for that. Outside a run, and inside another step,
    it is what it was. Tools named in `once` are never called twice: where a crash hides whether one was, the run stops
    with OutcomeUnknown. TypeError for what is neither.
    """
    if not isinstance(session, (ClientSession, Client)):
        raise TypeError(f"record takes an mcp.ClientSession or an mcp.Client, not {session!r}")
    if isinstance(once, str):
        raise TypeError("once= is several names of tools, not one text")
    for name in _ASKING:
        method = getattr(session, name)
        if not hasattr(method, "_recorded_by_agentstream"):
            setattr(session, name, _recorded(name, method, frozenset(once)))
    return session


def _recorded(method: str, ask: Method, once: frozenset[str]) -> Method:
    protocol, kind = _ASKING[method]
    adapter = TypeAdapter[Any](kind)

    @wraps(ask)
    async def asked(*args: Any, **kwargs: Any) -> Any:
        if not recording():
            return await ask(*args, **kwargs)
        given = {**dict(zip(_NAMES.get(method, ()), args, strict=False)), **kwargs}
        progress = given.pop("progress_callback", None)
        told = {name: value for name, value in given.items() if name not in _HOW and value is not None}
        if method != "call_tool":
            call = await aopen_step("mcp", protocol, told)
        else:
            tool, arguments = str(told.pop("name")), told.pop("arguments", None) or {}
            effect = "once" if tool in once else "repeat"
            call = await aopen_step("tool", tool, {**arguments, **({"_asked": told} if told else {})}, effect=effect)
        if call.served is not None:
            return await _serve(call.served, adapter, progress)
        seen = _Progress(call, progress)
        if method == "call_tool":
            given["progress_callback"] = seen
        return await _made(call, lambda: ask(**given), adapter, seen)

    asked._recorded_by_agentstream = True  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
    return asked


class _Progress:
    """Notes what the server says of a call while it goes on, for followers and for the record, and hands it on."""

    def __init__(self, call: StepCall, to: Any) -> None:
        self._call, self._to = call, to
        self._seen: list[list[Any]] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self._seen.append([progress, total, message])
        told = {"mcp": "progress", "step": self._call.key, "progress": progress, "total": total, "message": message}
        self._call.emit("custom", told)
        if self._to is not None:
            await self._to(progress, total, message)

    def recorded(self) -> dict[str, Any]:
        return {PROGRESS: self._seen} if self._seen else {}


async def _made(
    call: StepCall, ask: Callable[[], Awaitable[Any]], adapter: TypeAdapter[Any], progress: _Progress
) -> Any:
    try:
        with muted():
            result = await ask()
        value = result.model_dump(mode="json", by_alias=True, exclude_unset=True)
    except Exception as error:
        await call.afail(error, result=progress.recorded() or None)
        raise
    except asyncio.CancelledError:
        call.cancel(progress.recorded() or None)  # what the code was told before it gave up made it do so
        raise
    except BaseException:
        call.abandon()
        raise
    with call.underway():
        recorded = await call.afinish({**value, **progress.recorded()})
    return result if recorded is None else _rebuilt(recorded, adapter)


async def _serve(served: Served, adapter: TypeAdapter[Any], progress: Any) -> Any:
    result = served.result
    for done, total, message in result.get(PROGRESS, ()) if isinstance(result, dict) else ():
        if progress is not None:
            await progress(done, total, message)
    if served.cancelled:
        await asyncio.Event().wait()  # until the code cancels it, as it did
    if served.error is not None:
        raise _raised(served.error)
    return _rebuilt(result, adapter)


def _raised(error: Any) -> BaseException:
    """A recorded error. What the server said of one is an MCPError again, with its code and data."""
    told = error.exception()
    if error.name != MCPError.__name__ or len(error.args) != 3 or type(error.args[0]) is not int:
        return told
    made = MCPError(*error.args)
    made.__cause__ = told
    return made


def _rebuilt(value: Any, adapter: TypeAdapter[Any]) -> Any:
    if not isinstance(value, dict):  # a person put another outcome in its place: what they say is what the tool said
        text = types.TextContent(type="text", text=value if isinstance(value, str) else str(value))
        return types.CallToolResult(content=[text])
    return adapter.validate_python({name: part for name, part in value.items() if name != PROGRESS}, by_name=False)
