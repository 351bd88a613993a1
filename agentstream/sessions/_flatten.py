"""What a class instance holds, as plain values: the part of the codec that knows dataclasses, pydantic and their like.

A field's name is the one validation reads (its validation alias), because the point of a flattened value is to be
built again. Every field is written, defaults too: a fingerprint that left them out would not see a changed default.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import fields, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

import msgspec

from agentstream.sessions.secrets import hide, secret_fields


class Flat(msgspec.Struct, frozen=True):
    """The plain value inside another. `typed`: its class was lost; `unordered`: it is a set."""

    value: Any
    typed: bool = False
    unordered: bool = False


def flatten(value: Any) -> Flat | None:
    """One level of `value` as a plain value whose parts may need flattening in turn; None if it is of no known kind."""
    if isinstance(value, Enum):
        return Flat(value.value, typed=True)
    if _is_model(value):
        from agentstream.sessions._models import of_model

        return Flat(of_model(value), typed=True)
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        return Flat(hide(held, secret_fields(type(value))), typed=True)
    if isinstance(value, msgspec.Struct):
        return Flat(_of_struct(value), typed=True)
    if isinstance(value, tuple):  # a NamedTuple too: a list can be unpacked as it was, a dict cannot
        return Flat(list(value), typed=hasattr(value, "_fields"))
    return _of_builtin(value)


def _is_model(value: Any) -> bool:
    """Whether it is a pydantic model, without loading pydantic (80 ms) to ask: whoever has one has loaded it."""
    main = sys.modules.get("pydantic.main")
    return main is not None and isinstance(value, main.BaseModel)


def _of_builtin(value: Any) -> Flat | None:
    """Sets, and subclasses of what JSON has, as their base: whatever they override is not asked."""
    if isinstance(value, (set, frozenset)):
        return Flat(value, unordered=True)
    if isinstance(value, str):
        return Flat(str.__str__(value))
    if isinstance(value, int):
        return Flat(int.__index__(value))
    if isinstance(value, float):
        return Flat(float.__float__(value))
    if isinstance(value, (dict, MappingProxyType)):
        return Flat(dict(value))
    if isinstance(value, (list, deque)):
        return Flat(list(value))
    return None


def _of_struct(value: msgspec.Struct) -> Any:
    """A struct as msgspec itself lays it out: renamed fields, its tag, a list where it is array-like."""
    config = value.__struct_config__
    named = {name: getattr(value, name) for name in value.__struct_fields__}
    parts = [*hide(named, secret_fields(type(value))).values()]
    if config.array_like:
        return parts if config.tag is None else [config.tag, *parts]
    made = {} if config.tag is None or config.tag_field is None else {config.tag_field: config.tag}
    return made | dict(zip(value.__struct_encode_fields__, parts, strict=True))
