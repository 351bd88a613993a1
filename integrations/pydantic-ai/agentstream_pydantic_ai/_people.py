"""Calls that a person is to approve, or whose result comes from elsewhere: questions of the session."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied

from agentstream.adapters.people import aapprove, aquestion
from agentstream_pydantic_ai._tools import arguments_of


async def answered(requests: DeferredToolRequests) -> DeferredToolResults:
    """Asks for all of them at once. Where not all are answered the run ends as waiting, and holds no process."""
    approvals, results = await asyncio.gather(
        asyncio.gather(*(_approved(call) for call in requests.approvals)),
        asyncio.gather(*(_given(call) for call in requests.calls)),
    )
    return DeferredToolResults(
        approvals={call.tool_call_id: verdict for call, verdict in zip(requests.approvals, approvals, strict=True)},
        calls={call.tool_call_id: value for call, value in zip(requests.calls, results, strict=True)},
    )


async def _approved(call: ToolCallPart) -> ToolApproved | ToolDenied:
    arguments = arguments_of(call.args)
    verdict = await aapprove(call.tool_name, arguments, key={"id": call.tool_call_id})
    if not verdict.approved:
        return ToolDenied(verdict.reason) if verdict.reason else ToolDenied()
    return ToolApproved(override_args={**arguments, **verdict.changed}) if verdict.changed else ToolApproved()


async def _given(call: ToolCallPart) -> Any:
    told = ", ".join(f"{name}={value!r}" for name, value in arguments_of(call.args).items())
    return await aquestion(f"What does {call.tool_name}({told}) give?", key={"id": call.tool_call_id})
