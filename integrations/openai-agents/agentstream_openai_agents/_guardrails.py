"""Guardrails as steps: often a model call of their own is in them, and their verdict decides how a run goes on."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from agents import GuardrailFunctionOutput
from agents.guardrail import InputGuardrail, OutputGuardrail

from agentstream.adapters import aopen_step, recording
from agentstream.adapters.making import amade
from agentstream_openai_agents._marks import is_marked, marked
from agentstream_openai_agents._values import kept, whole


def instrument_guardrail(guardrail: InputGuardrail[Any] | OutputGuardrail[Any]) -> None:
    """Makes each look of a guardrail a step. A model it asks is asked within that step."""
    function: Any = guardrail.guardrail_function
    if is_marked(function):
        return

    @marked
    @functools.wraps(function)
    async def looked(context: Any, agent: Any, about: Any) -> GuardrailFunctionOutput:
        if not recording():
            return await _value(function(context, agent, about))
        asked = {"agent": agent.name, "about": about if isinstance(about, list) else kept(about)}
        call = await aopen_step("guardrail", guardrail.get_name(), asked)
        return await amade(call, lambda: _value(function(context, agent, about)), kept=_kept, whole=_whole)

    guardrail.guardrail_function = looked


async def _value(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _kept(output: GuardrailFunctionOutput) -> dict[str, Any]:
    return {"tripwire_triggered": output.tripwire_triggered, "output_info": kept(output.output_info)}


def _whole(said: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(
        tripwire_triggered=bool(said["tripwire_triggered"]), output_info=whole(said["output_info"])
    )
