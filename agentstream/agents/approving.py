"""Approvals: a person is asked before a step acts, and may say with which arguments.

The answer is recorded as a step's outcome before the step itself begins, so that resume
and replay call it as it was approved.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents.asking import Form, asking
from agentstream.errors import Denied
from agentstream.sessions import codec

if TYPE_CHECKING:
    from agentstream.agents.steps import StepSpec
    from agentstream.backends.driving import Steps

APPROVAL: dict[str, Any] = {
    "anyOf": [
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {
                "approved": {"type": "boolean"},
                "reason": {"type": ["string", "null"]},
                "arguments": {"type": ["object", "null"]},
            },
            "required": ["approved"],
        },
    ]
}
"""What answers an approval: true, false, or an object with a reason, or with other values for some arguments."""

Call = tuple[tuple[Any, ...], dict[str, Any]]


class _Verdict(msgspec.Struct, frozen=True):
    """What a person said. `call` is what to call the step with instead, if they said so."""

    approved: bool
    reason: str | None = None
    call: Call | None = None


def approved(
    spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any], *, in_loop: bool
) -> Steps[tuple[tuple[Any, ...], dict[str, Any], Denied | None]]:
    """Asks whether a step may be called; gives the call that was approved, or the error to raise instead of it."""
    arguments = spec.told(args, kwargs)
    question = {
        "prompt": f"May {spec.name} be called?",
        "kind": "approval",
        "step": spec.name,
        "arguments": codec.encode(arguments, where=f"arguments of {spec.name}").data,
        "schema": APPROVAL,
    }
    input = {"step": spec.name, "kind": spec.kind, "arguments": arguments}

    def verdict_of(value: Any) -> _Verdict:
        return _verdict(value, partial(_edited, spec.function, spec.signature, (args, kwargs)))

    verdict = yield from asking(Form("approve", input, question, None, verdict_of), in_loop=in_loop)
    if verdict.approved:
        args, kwargs = verdict.call or (args, kwargs)
        return args, kwargs, None
    because = f": {verdict.reason}" if verdict.reason else ""
    return args, kwargs, Denied(f"{spec.name} was not approved{because}", reason=verdict.reason)


def _verdict(value: Any, edit: Callable[[Mapping[str, Any]], Call]) -> _Verdict:
    if isinstance(value, bool):
        return _Verdict(value)
    if not isinstance(value, dict) or not isinstance(value.get("approved"), bool):
        raise ValueError(f"{value!r} neither approves nor denies")
    edited = value.get("arguments")
    if edited and not value["approved"]:
        raise ValueError("arguments go with an approval, not with a denial")
    reason = value["reason"] if isinstance(value.get("reason"), str) else None
    return _Verdict(value["approved"], reason, edit(edited) if edited else None)


def _edited(function: Callable[..., Any], signature: inspect.Signature, call: Call, edited: Mapping[str, Any]) -> Call:
    """A call with other values for some parameters, each of its annotated type. ValueError if it does not take them."""
    bound = signature.bind(*call[0], **call[1])
    hints = codec.annotations_of_parameters(function)
    for name, value in edited.items():
        parameter = signature.parameters.get(name)
        if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError(f"the step has no argument {name!r} of its own: {', '.join(signature.parameters)}")
        bound.arguments[name] = _typed(hints[name], value) if name in hints else value
    return bound.args, bound.kwargs


def _typed(annotation: Any, value: Any) -> Any:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except PydanticUserError:  # no type that pydantic can check
        return value
    return adapter.validate_json(json.dumps(value))
