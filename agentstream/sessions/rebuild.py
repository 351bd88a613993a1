"""Class instances again, from a decoded value and the annotation of the function that returned it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, get_type_hints

import msgspec

from agentstream.errors import NotSerializable

_Validator = Callable[[Any], Any]


def rebuild(value: Any, annotation: object) -> Any:
    """`value` as `annotation` describes it: models, dataclasses, enums and tuples made again. None or Any: unchanged.

    Raises `NotSerializable` where the annotation does not fit what was recorded.
    """
    if annotation is None or annotation is Any:
        return value
    try:
        return _validator_of(annotation)(value)
    except RecursionError:
        raise NotSerializable(f"a recorded value is nested too deeply to become {_name(annotation)}") from None
    except Exception as error:  # validators of the user's classes run in there
        raise NotSerializable(
            f"a recorded {type(value).__name__} cannot become {_name(annotation)}, the function's annotation: {error}. "
            "Annotate what it really returns, or return plain values."
        ) from error


def annotation_of_return(fn: Callable[..., object]) -> object | None:
    """What `fn` says it returns; None if it says nothing or names something that cannot be found."""
    return hints(fn).get("return")


def annotations_of_parameters(fn: Callable[..., object]) -> dict[str, object]:
    """The annotations of `fn`'s parameters, without those that cannot be found."""
    return {name: hint for name, hint in hints(fn).items() if name != "return"}


def hints(fn: Callable[..., object]) -> dict[str, object]:
    """The annotations of `fn` that can be found, with their marks."""
    while isinstance(fn, partial):
        fn = fn.func
    if not inspect.isroutine(fn) and not isinstance(fn, type):
        fn = type(fn).__call__  # an object that is called
    fn = inspect.unwrap(fn)
    try:
        return get_type_hints(fn, include_extras=True)
    except Exception:  # one name that cannot be found hides the others: ask for each alone
        namespace: dict[str, Any] = getattr(fn, "__globals__", {})
        found: dict[str, object] = {}
        for name, annotation in getattr(fn, "__annotations__", {}).items():
            try:
                found |= get_type_hints(
                    SimpleNamespace(__annotations__={name: annotation}), namespace, include_extras=True
                )
            except Exception:
                continue
        return found


def _validator_of(annotation: Any) -> _Validator:
    try:
        hash(annotation)
    except TypeError:  # Annotated[…] with unhashable metadata
        return _make_validator(annotation)
    return _cached_validator(annotation)


def _make_validator(annotation: Any) -> _Validator:
    from pydantic import TypeAdapter  # here, because it takes longer to load than all of this library
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(annotation).validate_python
    except PydanticUserError:  # pydantic has no schema for msgspec's structs; msgspec has
        return partial(msgspec.convert, type=annotation)


_cached_validator = lru_cache(maxsize=512)(_make_validator)


def _name(annotation: object) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
