"""Tools whose calls are steps, keyed by the model's call ids."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_ai import ToolReturn
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, ModelRetry, ToolFailed
from pydantic_ai.messages import UserContent, tool_return_content_ta
from pydantic_ai.tools import AgentDepsT, RunContext
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset

from agentstream.adapters import aopen_step, recording
from agentstream.adapters.making import amade

_MARK = "pydantic_ai"
"""Stands in a recorded result that is more than the value a tool returned."""

_BESIDE = tuple(
    field.name for field in dataclasses.fields(ToolReturn) if field.init and field.name not in ("return_value", "kind")
)
"""What a tool may return beside its value."""

_content: TypeAdapter[Any] = TypeAdapter(list[UserContent])


@dataclass
class RecordedToolset(WrapperToolset[AgentDepsT]):
    """Makes each call of a tool a step; outside a run, and inside another step, it only hands on.

    A retry, a failure told to the model, a wish for approval and a deferral are outcomes like any other: the agent
    counts and shows them as it did.
    """

    wrapped: AbstractToolset[AgentDepsT]
    once: Collection[str] = ()
    through: Collection[str] = ()

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> Any:
        """What the tool gives, from the record if it is there."""
        if not recording() or name in self.through or tool.tool_def.tool_kind is not None or is_step(tool):
            return await super().call_tool(name, tool_args, ctx, tool)

        async def make() -> Any:
            try:
                return await super(RecordedToolset, self).call_tool(name, tool_args, ctx, tool)
            except (ModelRetry, ToolFailed, ApprovalRequired, CallDeferred) as wish:
                return wish

        asked = {"id": ctx.tool_call_id, "arguments": plain(tool_args)}
        call = await aopen_step("tool", name, asked, effect="once" if name in self.once else "repeat")
        return await amade(call, make, kept=_kept, whole=lambda kept: _handed(kept, tool))


def is_step(tool: ToolsetTool[Any]) -> bool:
    """Whether the tool's function is a `@step`, which records itself."""
    return getattr(_function(tool), "__agentstream_step__", None) is not None


def _function(tool: Any) -> Any:
    """The function that a tool calls, None where it is no function's."""
    while (source := getattr(tool, "source_tool", None)) is not None:
        tool = source
    return getattr(getattr(getattr(tool, "call_func", None), "__self__", None), "function", None)


# --- results as they are recorded -------------------------------------------------------------------------------------


def _kept(value: Any) -> Any:
    if isinstance(value, Exception):
        return _wish(value)
    if isinstance(value, ToolReturn):
        told = {name: plain(part) for name in _BESIDE if (part := getattr(value, name)) is not None}
        return {_MARK: "return", "value": plain(value.return_value), **told}
    told = plain(value)
    return {_MARK: "value", "value": told} if isinstance(told, dict) and _MARK in told else told


def plain(value: Any) -> Any:
    """Instances as what they hold, under the names that the model is told."""
    return tool_return_content_ta.dump_python(value, by_alias=True, warnings=False)


def _wish(wish: Exception) -> dict[str, Any]:
    if isinstance(wish, (ModelRetry, ToolFailed)):
        return {_MARK: "retry" if isinstance(wish, ModelRetry) else "failed", "message": wish.message}
    metadata = {"metadata": value} if (value := getattr(wish, "metadata", None)) is not None else {}
    if isinstance(wish, ApprovalRequired):
        return {_MARK: "approval", **metadata}
    kind = getattr(wish, "kind", "external")
    return {_MARK: "deferred", **metadata, **({"kind": kind} if kind != "external" else {})}


def _handed(kept: Any, tool: ToolsetTool[Any]) -> Any:
    """What the agent is given for a recorded result; raises what the tool raised to have its way."""
    if not isinstance(kept, dict) or _MARK not in kept:
        return _rebuilt(kept, tool)
    match kept[_MARK]:
        case "value":
            return _rebuilt(kept["value"], tool)
        case "return":
            beside: Any = {name: kept[name] for name in _BESIDE if name in kept}
            if isinstance(content := beside.get("content"), list):
                beside["content"] = _content.validate_python(content)
            return ToolReturn(return_value=_rebuilt(kept["value"], tool), **beside)
        case "retry":
            raise ModelRetry(kept["message"])
        case "failed":
            raise ToolFailed(kept["message"])
        case "approval":
            raise ApprovalRequired(kept.get("metadata"))
        case "deferred":
            more: Any = {"kind": kept["kind"]} if "kind" in kept else {}
            raise CallDeferred(kept.get("metadata"), **more)
        case _:
            return kept


def _rebuilt(told: Any, tool: ToolsetTool[Any]) -> Any:
    """Files and links made again; instances too, where the function says of which class, and nothing is lost by it."""
    annotation = _annotation(_function(tool))
    if annotation is not None and _names_classes(annotation):
        try:
            made = TypeAdapter(annotation).validate_python(told)
            if plain(made) == told:
                return made
        except (ValidationError, TypeError):
            pass
    return tool_return_content_ta.validate_python(told)


def _annotation(function: Any) -> Any:
    try:
        return get_type_hints(function).get("return") if function is not None else None
    except (NameError, TypeError):
        return None


def _names_classes(annotation: Any) -> bool:
    if inspect.isclass(annotation) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return not issubclass(annotation, ToolReturn)
    return any(_names_classes(part) for part in get_args(annotation))


def arguments_of(args: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments of a call as a model wrote them; as one text where they are no JSON object."""
    if isinstance(args, str):
        try:
            found = TypeAdapter(dict[str, Any]).validate_json(args or "{}")
        except ValidationError:
            return {"arguments": args}
        return found
    return dict(args or {})
