"""An answer that the provider keeps for whoever asks again: fetched, not paid a second time.

Some providers go on with an answer when nobody listens any more (OpenAI's background responses). Where it can be
fetched is written down, beside the step, as soon as it is known; the step's next attempt, after a crash or a broken
connection, fetches it from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.sessions.events import StepKey

if TYPE_CHECKING:
    from agentstream.adapters import StepCall


def leave(call: StepCall, place: str) -> None:
    """Writes down where the answer to this call can be fetched: what comes behind the path of the request."""
    call.emit("custom", {"again": place}, key=f"{call.key}/again")


def left(call: StepCall) -> str | None:
    """The place that the last attempt before this one left."""
    for attempt in range(call.attempt - 1, 0, -1):
        event = call.worker.state.find("custom", f"{StepKey(*call.id.identity, attempt)}/again")
        said: Any = event.value if event is not None else None
        if isinstance(said, dict) and isinstance(said.get("again"), str):
            return said["again"]
    return None


def fetching(request: Any, place: str) -> Any:
    """The request that fetches it, made of the one that asked: same server, same credentials, no body."""
    behind, _, query = place.partition("?")
    url = request.url.copy_with(path=f"{request.url.path}/{behind}")
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        url = url.copy_add_param(name, value)
    gone = ("content-type", "content-length", "transfer-encoding")
    headers = [(name, value) for name, value in request.headers.multi_items() if name.lower() not in gone]
    return type(request)("GET", url, headers=headers, extensions=request.extensions)
