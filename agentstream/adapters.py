"""The second public face: what an integration is written on.

An integration turns a framework's call to the outside into a step. It needs six things,
and nothing deeper than this module and `agentstream` itself:

1. *Find the session*: `recording()` says whether a call made here and now becomes a step.
   Outside a run, and inside another step, an integration is transparent.
2. *Open a step*: `open_step(...)` (or `await aopen_step(...)`) gives the step its place in
   the lane, checks it against the journal and returns a `StepCall`.
3. *Be served*: where `call.served` is set, the outcome is in the record; hand it on, and
   make no call.
4. *Feed it*: `call.feed(...)` adds tokens as they come, `call.emit(...)` typed events
   (messages, tool calls). Neither waits.
5. *Finish or fail it*: after `finish`/`fail` return, the outcome is durable. Hand a result
   (or a stream's last chunk) to the caller only then.
   A stream that its reader may leave half read sets `call.if_left = lambda: (result, usage)`:
   where the run's function ends first, that is the outcome. Once the run has ended, all of a
   call's methods do nothing.
6. *Mute*: `muted()` makes every recording below it transparent, for a step that itself
   calls things other integrations would record.

    def call_model(request):
        if not adapters.recording():
            return transport(request)
        call = adapters.open_step("model", "POST /v1/responses", request.body)
        if call.served:
            return rebuild(call.served.value())
        try:
            response = transport(request)
        except Exception as error:
            call.fail(error)
            raise
        call.finish(describe(response), usage={"input_tokens": 12, "output_tokens": 3})
        return response

The stop signals of a run (fenced, diverged, …) are raised through this code as a private
`BaseException`: catch `Exception`, never more, and let it pass.
"""

from __future__ import annotations

from agentstream.agents.calls import Served, StepCall
from agentstream.agents.opening import aopen_step, diverge, muted, open_step, recording

__all__ = ["Served", "StepCall", "aopen_step", "diverge", "muted", "open_step", "recording"]
