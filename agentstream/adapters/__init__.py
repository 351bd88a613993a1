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
   calls things other integrations would record. `inside(call)` does too, for a tool's own code:
   `current_step()` and `delta()` there are of that call.

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

An engine that runs code by itself, and asks to be kept (a checkpointer), has no run and no
steps. It writes the session through a `Recorder`: events under a claim of its own, appended
from any thread and loop. What it does is written once, as generators over operations, and
driven by `drive(client, …)` or `await adrive(client, …)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from agentstream.agents.calls import Served, StepCall
from agentstream.agents.context import Lane, finders, inside
from agentstream.agents.deltas import Deltas
from agentstream.agents.observing import Watched
from agentstream.agents.opening import aopen_step, diverge, muted, open_step, recording
from agentstream.agents.recorder import STEP_ITEMS, Change, Hold, Recorder
from agentstream.agents.tasks import TaskWorker, replayers, resumers
from agentstream.backends import driving
from agentstream.backends.driving import Call, Sleep, Steps, Wait
from agentstream.sessions.codec import decode, encode
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.items import parse_range, write_ranges
from agentstream.sessions.log import Log
from agentstream.sessions.openers import Looked, Opener
from agentstream.sessions.state import State, fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstream.sessions.events import Event

T = TypeVar("T")

__all__ = [
    "STEP_ITEMS",
    "Call",
    "Change",
    "Deltas",
    "Hold",
    "Lane",
    "Log",
    "Looked",
    "Opener",
    "Recorder",
    "Served",
    "Sleep",
    "State",
    "StepCall",
    "Steps",
    "TaskWorker",
    "Wait",
    "Watched",
    "adrive",
    "aopen_step",
    "are_one",
    "decode",
    "diverge",
    "drive",
    "encode",
    "find_tasks_by",
    "fold",
    "fork",
    "fresh_id",
    "inside",
    "muted",
    "open_step",
    "parse_range",
    "recorder",
    "recording",
    "replay_by",
    "resume_by",
    "same_place",
    "session_ids",
    "tell",
    "value_of",
    "watched",
    "whole",
    "write_ranges",
]

# `client` is a Client or an AsyncClient: both are faces of one core, which is all that is used of them here.


def find_tasks_by(find: Callable[[Lane | None], Lane | None]) -> None:
    """Steps called where no run is about belong to the lane that `find` gives (`TaskWorker.lane`), if it gives one.

    It is given the lane of such a task that the calling context holds, and may give it back.
    """
    finders.append(find)


def replay_by(replayer: Callable[..., Steps[Any] | None]) -> None:
    """`session.replay(thing)` is what `replayer(handle, session_id, thing, asked, in_loop=…)` does, if not None.

    `handle` is as good as the client for `are_one`, `drive` and `adrive`; `asked` are the options of `session.replay`,
    for `adapters.replaying.TaskReplay`. The steps return a Report.
    """
    replayers.append(replayer)


def resume_by(resumer: Callable[..., Steps[Any] | None]) -> None:
    """`session.resume(thing)` is what `resumer(handle, session_id, thing, take_over=…, in_loop=…)` does, if not None.

    The steps return what `resume` does."""
    resumers.append(resumer)


def watched(client: Any, state: State, run: str, agent: str, *, resumed: bool) -> Watched | None:
    """Whom an engine's run is told to that begins or goes on where `state` ends; None where nobody watches."""
    observer = client._core.observer
    return observer.engine(state, run, agent, resumed=resumed) if observer is not None else None


def tell(client: Any, session: str, key: str, value: dict[str, Any]) -> None:
    """Who watches (telemetry) is told of a step of an engine's that has ended: its event's key, and what it says."""
    observer = client._core.observer
    if observer is not None:
        observer.told(session, key, value)


def are_one(client: Any, other: Any) -> bool:
    """Whether two clients, sync or async, are faces of one."""
    return client._core is other._core


def same_place(client: Any, other: Any) -> bool:
    """Whether two clients keep their sessions in one place: what one reads of them is what the other wrote."""
    return are_one(client, other) or client._core.backend.name == other._core.backend.name != "memory:"


def recorder(client: Any, session: str) -> Recorder:
    """The hold of this client on a session, for an engine of its own. No I/O; ValueError for what cannot be an id."""
    from agentstream.sessions.ids import checked_id

    return Recorder(client._core, checked_id(session))


def drive(client: Any, steps: Steps[T]) -> T:
    """Runs steps to the end in this thread."""
    return driving.drive(steps, client._core.backend)


async def adrive(client: Any, steps: Steps[T]) -> T:
    """Runs steps to the end in the running event loop."""
    return await driving.adrive(steps, client._core.backend)


def fork(client: Any, session: str, new_id: str) -> Steps[None]:
    """As `session.fork(new_id)`: NotFound, SessionExists."""
    from agentstream.sessions.forking import fork as fork_session

    return fork_session(client._core, session, new_id)


def session_ids(client: Any, prefix: str) -> Steps[list[str]]:
    """The ids of all sessions that begin so. AgentStreamError for a server, which cannot list its streams."""
    from agentstream.sessions.summaries import places

    return [place.id for place in (yield from places(client._core, prefix))]


def value_of(event: Event) -> dict[str, Any]:
    """What an event says, in its recorded form, read afresh: nothing is kept of it in the log."""
    from agentstream.sessions.codec import loads

    value = loads(event.raw).get("value")
    return value if isinstance(value, dict) else {}


def whole(event: Event) -> Any:
    """What an event says, decoded, whatever its type. Reads what of it is kept in blobs: BlobLost."""
    from agentstream.sessions.events import is_wrapped
    from agentstream.sessions.large import whole_value

    return event.value if is_wrapped(event.type) else whole_value(event)
