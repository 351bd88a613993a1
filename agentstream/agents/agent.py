"""`@agent`: an ordinary function that a session runs.

`AgentSpec` is what is known of such a function; a plain function gets one when a session
runs it. Called inside a run, an agent is a child run of the same session.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from types import MethodType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_args, get_origin, overload

import msgspec

from agentstream.agents.context import current_lane, is_muted
from agentstream.agents.generators import aiterate, iterate, whole
from agentstream.agents.opening import backend_here
from agentstream.agents.signatures import arguments_of, is_async_function, signature_of
from agentstream.agents.steps import STEP, plain_name
from agentstream.backends.driving import adrive, drive
from agentstream.errors import AgentStreamError
from agentstream.sessions import codec
from agentstream.sessions.secrets import hidden_result, hide, secret_parameters

if TYPE_CHECKING:
    from agentstream.sessions.redaction import Rules

P = ParamSpec("P")
R = TypeVar("R")

AGENT = "__agentstream_agent__"
"""Where a function that `@agent` made keeps its AgentSpec."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """A function that a session can run."""

    function: Callable[..., Any]
    name: str
    is_async: bool
    signature: inspect.Signature = field(repr=False)
    generator: Callable[..., Any] | None = field(default=None, repr=False)
    """The function as it was given, where that yields; `function` then goes through it to its end."""
    streams: bool = False
    """Whether a consumer gets what it yields."""

    @property
    def entry(self) -> str | None:
        """The function as `module:name`, by which it can be imported again; None for what no module has by itself."""
        inner = inspect.unwrap(self.generator or self.function)
        if not inspect.isfunction(inner):
            return None
        return f"{inner.__module__}:{inner.__qualname__}"

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], rules: Rules) -> Arguments:
        """The call as it is recorded. TypeError if the function does not take it, NotSerializable if it has no form."""
        return self.of(arguments_of(self.signature, self.name, args, kwargs), rules)

    def of(self, arguments: dict[str, Any], rules: Rules) -> Arguments:
        """The call with these arguments, each under its parameter's name, as it is recorded."""
        hidden = hide(arguments, secret_parameters(self.function))
        encoded = rules.encode(hidden, where=f"arguments of {self.name}", at="arguments")
        return Arguments(encoded.data, encoded.typed, rules.fingerprint(encoded))

    def call(self, encoded: Any, typed: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the function is called with for a recorded call: decode(record), models rebuilt from the annotations."""
        decoded = codec.decode(encoded)
        values = dict(decoded) if isinstance(decoded, dict) else {}
        if typed:
            hints = self._annotations()
            values = {name: codec.rebuild(value, hints.get(name)) for name, value in values.items()}
        bound = inspect.BoundArguments(self.signature, OrderedDict())
        for name in self.signature.parameters:
            if name in values:
                bound.arguments[name] = values.pop(name)
        if values:
            raise TypeError(f"agent {self.name!r} does not take the recorded argument {next(iter(values))!r}")
        return bound.args, bound.kwargs

    def returned(self, value: Any, rules: Rules) -> tuple[Any, Any, bool]:
        """(what the caller gets, its stored form, whether that needs the annotation to be rebuilt)."""
        encoded = rules.encode(hidden_result(value, self.function), where=f"result of agent {self.name}", at="result")
        return self.served(encoded.data, encoded.typed), encoded.data, encoded.typed

    def served(self, encoded: Any, typed: bool) -> Any:
        """What the caller gets for a recorded result."""
        decoded = codec.decode(encoded)
        return codec.rebuild(decoded, self._annotation()) if typed else decoded

    def _annotations(self) -> dict[str, Any]:
        """What the parameters hold: of `*args` and `**kwargs`, whose annotation is of one of them, all."""
        hints: dict[str, Any] = dict(codec.annotations_of_parameters(self.function))
        for name, parameter in self.signature.parameters.items():
            if name in hints and parameter.kind is parameter.VAR_POSITIONAL:
                hints[name] = list[hints[name]]
            elif name in hints and parameter.kind is parameter.VAR_KEYWORD:
                hints[name] = dict[str, hints[name]]
        return hints

    def _annotation(self) -> Any:
        annotation = codec.annotation_of_return(self.function)
        if self.generator is None:
            return annotation
        told = get_args(annotation)
        return told[2] if get_origin(annotation) is Generator and len(told) == 3 else None


class Arguments(msgspec.Struct, frozen=True):
    """A call in its stored form."""

    data: Any
    typed: bool
    fingerprint: str


def spec_of(function: Any) -> AgentSpec:
    """The spec of an agent or of any function that could be one; TypeError for what cannot."""
    spec = getattr(function, AGENT, None)
    if isinstance(spec, AgentSpec):
        return _bound(spec, function) if inspect.ismethod(function) else spec
    if getattr(function, STEP, None) is not None:
        raise TypeError(f"{plain_name(function)} is a step, not an agent: give session.run the function that calls it")
    if not callable(function):
        raise TypeError(f"session.run needs a function, not {function!r}")
    return make_spec(function, None)


def _bound(spec: AgentSpec, method: MethodType) -> AgentSpec:
    """The spec of an agent that is taken from an object: what it is bound to is no argument of its runs."""
    return make_spec(MethodType(spec.generator or spec.function, method.__self__), spec.name)


def make_spec(function: Callable[..., Any], name: str | None) -> AgentSpec:
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        is_async = inspect.isasyncgenfunction(function)
        through = whole(function, is_async=is_async)
        return AgentSpec(through, name or plain_name(inner), is_async, signature_of(function), function)
    is_async = is_async_function(function) or inspect.iscoroutinefunction(inner)
    return AgentSpec(function, name or plain_name(inner), is_async, signature_of(function))


@overload
def agent(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def agent(*, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def agent(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Makes a function an agent: `session.run(fn, ...)` runs it, and the same call after a crash resumes it.

    A generator function, sync or async, is run by `session.stream(fn, ...)`, which hands on what it yields.
    `name` is what its runs are matched by, the function's own name by default. Called inside
    a run it is a child run of the same session. Called outside one it raises AgentStreamError:
    a durable thing is never silently not durable.
    """
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(f"name= is a text that is not empty, not {name!r}")
    if function is None:
        return functools.partial(agent, name=name)
    if not callable(function):
        raise TypeError(f"@agent is for functions, not {function!r}")
    spec = make_spec(function, name)
    if spec.generator is not None:
        return _generator_agent(spec, spec.generator)
    return _async_agent(spec) if spec.is_async else _sync_agent(spec)


def _sync_agent(spec: AgentSpec) -> Callable[..., Any]:
    from agentstream.agents.children import child_run

    @functools.wraps(spec.function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if _is_plain(spec):
            return spec.function(*args, **kwargs)
        return drive(child_run(spec, args, kwargs, in_loop=False), backend_here())

    setattr(wrapper, AGENT, spec)
    return wrapper


def _async_agent(spec: AgentSpec) -> Callable[..., Any]:
    from agentstream.agents.children import child_run

    @functools.wraps(spec.function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if _is_plain(spec):
            return await spec.function(*args, **kwargs)
        return await adrive(child_run(spec, args, kwargs, in_loop=True), backend_here())

    setattr(wrapper, AGENT, spec)
    return wrapper


def _generator_agent(spec: AgentSpec, generator: Callable[..., Any]) -> Callable[..., Any]:
    from agentstream.agents.children import child_items

    @functools.wraps(generator)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if _is_plain(spec):
            return generator(*args, **kwargs)
        items = child_items(spec, args, kwargs, in_loop=spec.is_async)
        if spec.is_async:
            return aiterate(items, backend_here())
        return iterate(items, lambda part: drive(part, backend_here()))

    setattr(wrapper, AGENT, spec)
    return wrapper


def _is_plain(spec: AgentSpec) -> bool:
    """Whether the call is part of a step that runs; raises outside a run."""
    lane = current_lane()
    if lane is None:
        raise AgentStreamError(
            f"agent {spec.name!r} was called outside a run, where nothing would be recorded; "
            f"run it in a session: session.run({spec.name}, …)"
        )
    if not is_muted() and spec.is_async and lane.worker.sync:
        raise TypeError(f"agent {spec.name!r} is async and cannot be called from one that is not")
    return is_muted()
