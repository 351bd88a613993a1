"""Ways to run an agent in a session: as its function, whole or streamed."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_ai.agent import AbstractAgent
from pydantic_ai.messages import UserContent

import agentstream
from agentstream import current_session
from agentstream_pydantic_ai._capability import InSession, Recorded
from agentstream_pydantic_ai._memory import history

if TYPE_CHECKING:
    from agentstream import AsyncSession, Session

OutputT = TypeVar("OutputT")

Prompt = str | Sequence[UserContent] | None


def durable(agent: AbstractAgent[Any, OutputT], *, name: str | None = None, **options: Any) -> Callable[..., Any]:
    """The function that a session runs for one turn of a conversation with the agent: `await fn(prompt)`.

    Give it to `session.run`, `resume` and `replay`, or to a `Worker`. What was said before in the session is the
    agent's history. `options` are those of `agent.run` (`deps`, `model`, `usage_limits`, …); they are not recorded, so
    another process gives them again. An agent that has neither `Recorded` nor `AgentStreamDurability` gets
    the first.
    """
    given = _given(agent, options)

    async def turn(prompt: Prompt = None) -> Any:
        result = await agent.run(prompt, message_history=await _before(agent), **given)
        return result.output

    return _named(turn, agent, name)


def streamed(agent: AbstractAgent[Any, Any], *, name: str | None = None, **options: Any) -> Callable[..., Any]:
    """As `durable`, for `session.stream`: yields the events of `agent.run_stream_events`."""
    given = _given(agent, options)

    async def turn(prompt: Prompt = None) -> AsyncGenerator[Any]:
        before = await _before(agent)
        async with agent.run_stream_events(prompt, message_history=before, **given) as events:
            async for event in events:
                yield event

    return _named(turn, agent, name)


async def run_durable(
    agent: AbstractAgent[Any, OutputT],
    prompt: Prompt,
    session: AsyncSession,
    *,
    name: str | None = None,
    **options: Any,
) -> OutputT:
    """One turn of a conversation, which is the session; returns the agent's output.

    The same call after a crash goes on where the record ends. Raises what `session.run` raises (RunWaiting where a
    person is asked) and what the agent raises.
    """
    return await session.run(durable(agent, name=name, **options), prompt)


def run_durable_sync(
    agent: AbstractAgent[Any, OutputT], prompt: Prompt, session: Session, *, name: str | None = None, **options: Any
) -> OutputT:
    """As `run_durable`, for plain code: no event loop may run in the calling thread."""
    given = _given(agent, options)

    def turn(prompt: Prompt = None) -> Any:
        session = current_session()
        before = history(session.state(), _name(agent)) if session is not None else []  # type: ignore[arg-type]
        return agent.run_sync(prompt, message_history=before, **given).output

    return session.run(_named(turn, agent, name), prompt)


def stream_durable(
    agent: AbstractAgent[Any, Any], prompt: Prompt, session: AsyncSession, *, name: str | None = None, **options: Any
) -> AsyncGenerator[Any]:
    """As `run_durable`, with the events of `agent.run_stream_events` as they come, the result's last.

    Leaving it interrupts the run, which the same call goes on with: it gives all events again from the first on.
    """
    return session.stream(streamed(agent, name=name, **options), prompt)


async def _before(agent: AbstractAgent[Any, Any]) -> Any:
    """What was said until this run, which is the same on resume and replay."""
    session: Any = current_session()
    state = session.state()
    return history(await state if inspect.isawaitable(state) else state, _name(agent))


def _named(turn: Any, agent: AbstractAgent[Any, Any], name: str | None) -> Any:
    if isinstance(output := agent.output_type, type):
        turn.__annotations__["return"] = output  # of which class an output is that is served from the record
    return agentstream.agent(name=name or _name(agent))(turn)


def _name(agent: AbstractAgent[Any, Any]) -> str:
    return agent.name or "agent"


def _given(agent: AbstractAgent[Any, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options of a run, `Recorded` among its capabilities where nothing makes the agent durable."""
    given = [*(options.get("capabilities") or ())]
    known: list[Any] = [*given]
    agent.root_capability.apply(known.append)
    if not any(isinstance(capability, InSession) for capability in known):
        given.append(Recorded())
    return {**options, "capabilities": given}
