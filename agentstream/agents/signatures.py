"""What can be known of a function that a user gives: how it is called, and whether it is async."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_ANYTHING = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The function's signature; that of a function which takes anything where Python tells none (`max`, `int`)."""
    try:
        return inspect.signature(function)
    except ValueError:
        return _ANYTHING


def is_async_function(function: Callable[..., Any]) -> bool:
    """Whether a call gives something to await; of an object that is called, its `__call__` says so."""
    return any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))


def names_by_place(signature: inspect.Signature) -> tuple[str, ...] | None:
    """The names of a function's parameters; None if one of them cannot be given both by place and by name."""
    plain = all(each.kind is each.POSITIONAL_OR_KEYWORD for each in signature.parameters.values())
    return tuple(signature.parameters) if plain else None


def arguments_of(
    signature: inspect.Signature, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The call's arguments by their parameters' names. TypeError, with the function's name, if they do not fit."""
    try:
        return dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise TypeError(f"{name}(): {error}") from None
