"""What is a word of the command line already is taken as it is.

Typer brings every value to its type by pydantic, whose import is a third of the time until a
command answers; a text, a flag and one of a few words do not need it. What typer does is asked of
it as it is in the version here: where it works otherwise, it does all by itself, only later.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, get_args, get_origin


def coerce_little(group: Any) -> None:
    """For a typer's group and all its verbs: values that need no coercion get none."""
    for command in (group, *group.commands.values()):
        command.get_params = partial(_prepared, command.get_params)


def _prepared(params: Callable[[Any], list[Any]], context: Any) -> list[Any]:
    """A command's parameters, as it is asked for them: `--help` is among them only then."""
    found = params(context)
    for param in found:
        if hasattr(param, "type_descriptor") and "get_runtime_param" not in vars(param):
            typers = getattr(param, "get_runtime_param", None)
            if typers is not None:
                param.get_runtime_param = _Coercion(typers, param.type_descriptor.annotation).itself
    return found


class _Coercion:
    """In the place of typer's own, of one parameter; asks that where a value needs it."""

    def __init__(self, typers: Callable[[], Any], annotation: Any) -> None:
        self._typers = typers
        self._many = get_origin(annotation) is list
        self._kind: Any = get_args(annotation)[0] if self._many else annotation

    def itself(self) -> _Coercion:
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if self._many else None
        if self._many:
            if isinstance(value, (list, tuple)) and all(self._fits(each) for each in value):  # pyright: ignore[reportUnknownVariableType]
                return list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        elif self._fits(value):
            return value
        elif isinstance(self._kind, type) and issubclass(self._kind, Enum) and isinstance(value, str):
            for each in self._kind:
                if each.value == value:
                    return each
        return self._typers().coerce(value, param=param, ctx=ctx)

    def _fits(self, value: Any) -> bool:
        return type(value) is self._kind and (self._kind in (str, bool) or isinstance(value, Enum))
