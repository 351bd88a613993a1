"""Questions to people that a framework asks from inside its event loop: may a tool be called, what did it give.

They are steps like those of `ask` and `@step(approve=True)`, in the session and on the command line the same. Unlike
`aask` they may be asked in the loop that a plain agent drives by itself (an SDK's `run_sync`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents.approving import APPROVAL, _verdict
from agentstream.agents.asking import Form, _question, asking
from agentstream.agents.opening import backend_here
from agentstream.backends.driving import adrive
from agentstream.sessions import codec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Verdict(msgspec.Struct, frozen=True):
    """What a person said of a call: whether it may be made, why not, and other values for some of its arguments."""

    approved: bool
    reason: str | None = None
    changed: dict[str, Any] = {}


async def aapprove(name: str, arguments: Mapping[str, Any], *, key: Mapping[str, Any]) -> Verdict:
    """Asks whether the tool `name` may be called; ask `recording()` first.

    `key` is what else the question is known by (the call's id): of two calls alike each has an answer of its own.
    Whether the tool takes the changed arguments is for the caller to check. Where nobody has answered, the run ends
    as waiting (RunWaiting, raised by `session.run`).
    """
    told = codec.encode(dict(arguments), where=f"arguments of {name}").data
    question = {
        "prompt": f"May {name} be called?",
        "kind": "approval",
        "step": name,
        "arguments": told,
        "schema": APPROVAL,
    }
    input = {"step": name, "kind": "tool", **key, "arguments": told}
    verdict = await _asked(Form("approve", input, question, None, lambda value: _verdict(value, _changed)))
    return Verdict(verdict.approved, verdict.reason, verdict.call[1] if verdict.call else {})


async def aquestion(prompt: str, *, schema: Any = None, key: Mapping[str, Any]) -> Any:
    """As `aask(prompt, schema=…)`, known by `key` besides the prompt."""
    form = _question(prompt, schema, None, None)
    return await _asked(msgspec.structs.replace(form, input={**form.input, **key}))


def _changed(edited: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (), dict(edited)


async def _asked(form: Form) -> Any:
    return await adrive(asking(form, in_loop=True), backend_here())
