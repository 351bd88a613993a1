"""Model calls as steps: whole answers, and streams that are handed on as they come."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agents import ModelResponse
from agents.models.default_models import get_default_model
from agents.models.interface import Model

from agentstream.adapters import StepCall, aopen_step, diverge, inside, recording
from agentstream.adapters.ending import torn_down
from agentstream.adapters.http.responses import Responses
from agentstream.adapters.making import amade
from agentstream_openai_agents._forms import (
    asked,
    body_of,
    counts_of,
    model_name,
    response_kept,
    response_whole,
)
from agentstream_openai_agents._marks import is_marked, marked
from agentstream_openai_agents._tape import Tape, events_in

if TYPE_CHECKING:
    from agents.models.interface import ModelProvider

_SIGNATURE = inspect.signature(Model.get_response)
_NAMES = tuple(_SIGNATURE.parameters)[1:]

_failed: ContextVar[tuple[Any, Any] | None] = ContextVar("agentstream_openai_agents_failed", default=None)
"""What the last call of this task asked, if it failed: the runner tries again with the very same objects."""


def instrument_model(model: Model) -> None:
    """Makes each call of a model a step, in a run."""
    whole, stream = model.get_response, model.stream_response
    if is_marked(whole):
        return

    @marked
    @functools.wraps(whole)
    async def get_response(*args: Any, **kwargs: Any) -> ModelResponse:
        if not recording():
            return await whole(*args, **kwargs)
        return await _answered(_Request(model, "get_response", whole, args, kwargs))

    @marked
    @functools.wraps(stream)
    def stream_response(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        if not recording():
            return stream(*args, **kwargs)
        return _streamed(_Request(model, "stream_response", stream, args, kwargs))

    model.get_response = get_response  # type: ignore[method-assign]
    model.stream_response = stream_response  # type: ignore[method-assign, assignment]


def instrument_provider(provider: ModelProvider) -> None:
    """Instruments each model that a provider finds by its name.

    Where the record has all that a model said, it need not be there: a provider that cannot make it (no key) is asked
    again only for a call that is really made.
    """
    find = provider.get_model
    if is_marked(find):
        return

    @marked
    @functools.wraps(find)
    def get_model(*args: Any, **kwargs: Any) -> Model:
        try:
            model = find(*args, **kwargs)
        except Exception:
            if not recording():
                raise
            model = _Absent(functools.partial(find, *args, **kwargs), *args, **kwargs)
        instrument_model(model)
        return model

    provider.get_model = get_model  # type: ignore[method-assign]


class _Absent(Model):
    """A model known by its name alone."""

    def __init__(self, find: Callable[[], Model], model_name: str | None) -> None:
        self.model = (model_name or get_default_model()).rpartition("/")[2]
        self._find = find

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """Raises what the provider does."""
        return await self._find().get_response(*args, **kwargs)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Raises what the provider does."""
        async for event in self._find().stream_response(*args, **kwargs):
            yield event


class _Request:
    """One call of a model."""

    def __init__(self, model: Model, method: str, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.model = model_name(model)
        self._called, self._method, self._function = model, method, function
        self._args, self._kwargs = args, kwargs
        # by the SDK's own signature: a model's may name less
        self._said = dict(_SIGNATURE.bind(model, *args, **{k: v for k, v in kwargs.items() if k in _NAMES}).arguments)

    async def open(self, *, stream: bool = False) -> StepCall:
        said = self._said
        names = ("system_instructions", "input", "model_settings", "tools", "output_schema", "handoffs")
        more = {name: said.get(name) for name in ("previous_response_id", "conversation_id", "prompt")}
        request = asked(self._called, *(said.get(name) for name in names), **more, stream=stream or None)
        failed, _ = _failed.get(), _failed.set(None)
        same = failed is not None and failed[0] is said.get("input") and failed[1] is said.get("model_settings")
        return await aopen_step("model", self.model, request, retry=same, changeable=("instructions",))

    def make(self, call: StepCall) -> Any:
        """Makes the call, as a person may have changed it."""
        if call.changed is None:
            return self._function(*self._args, **self._kwargs)
        changed = call.changed.applied({"model": self.model, "instructions": self._said.get("system_instructions")})
        arguments = {**self._kwargs, **dict(zip(_NAMES, self._args, strict=False))}
        arguments["system_instructions"] = changed["instructions"]
        other = changed["model"] != self.model
        function = getattr(_named(self._called, changed["model"]), self._method) if other else self._function
        return function(**arguments)

    def failed(self) -> None:
        _failed.set((self._said.get("input"), self._said.get("model_settings")))


def _named(model: Any, name: str) -> Any:
    """The same model by another name, not instrumented."""
    other = copy.copy(model)
    for method in ("get_response", "stream_response"):
        vars(other).pop(method, None)
    other.model = name
    return other


# --- whole answers ---------------------------------------------------------------------------------------------------


async def _answered(request: _Request) -> ModelResponse:
    call = await request.open()

    def told(response: ModelResponse) -> Iterator[tuple[str, dict[str, Any]]]:
        decoder = Responses()
        decoder.body({**body_of(request.model, response), "id": response.response_id or call.key})
        return decoder.answer().events()

    try:
        return await amade(
            call,
            lambda: request.make(call),
            kept=response_kept,
            whole=response_whole,
            usage=lambda response: counts_of(request.model, response.usage),
            told=told,
        )
    except Exception:
        request.failed()
        raise


# --- streams ---------------------------------------------------------------------------------------------------------


async def _streamed(request: _Request) -> AsyncIterator[Any]:
    call = await request.open(stream=True)
    events = _recorded(call, request) if call.served is None else _played(call)
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except Exception:
        request.failed()
        raise


async def _recorded(call: StepCall, request: _Request) -> AsyncGenerator[Any, None]:
    """Hands a stream on as it comes; its outcome is durable before its last event is handed on.

    With rules that take something out it is handed on when it is whole, as it was recorded.
    """
    tape = Tape(call, request.model)
    call.if_left = tape.left
    events: Any = None
    try:
        with inside(call):
            events = aiter(request.make(call))
        while not tape.done:
            with inside(call):  # not across a yield: the caller's own calls are none of this one's
                event = await anext(events, None)
            if event is None:
                break
            tape.add(event)
            if not (tape.done or call.redacts):
                yield event
        await tape.settle()
        for event in tape.rest():
            yield event
        with inside(call):
            await _drained(events)
    except asyncio.CancelledError:
        tape.cancelled()
        raise
    except GeneratorExit:
        if torn_down():
            call.abandon()
        else:
            await tape.closed()
        raise
    except Exception as error:
        await tape.broken(error)
        raise
    except BaseException:
        call.abandon()
        raise
    finally:
        with inside(call):
            await _closed(events)


async def _drained(events: Any) -> None:
    """Lets the model come to its end; the answer is whole and recorded, and a replay would not see this either."""
    try:
        while await anext(events, None) is not None:
            pass
    except Exception:
        pass


async def _closed(events: Any) -> None:
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()


async def _played(call: StepCall) -> AsyncGenerator[Any, None]:
    """A recorded stream: the same events, and the same end."""
    served = call.served
    assert served is not None
    said = served.result
    if said is None and served.error is not None:
        raise served.error.exception()
    for event in events_in(said) if said is not None else ():
        yield event
    end = said.get("end") if said is not None else None
    if end == "closed":
        diverge("this stream is read beyond where it was closed when it was recorded", call=call)
    if end == "broken" and served.error is not None:
        raise served.error.exception()
    if served.cancelled:
        await asyncio.Event().wait()  # until the code cancels it, as it did
