"""What a tool or a guardrail gave, as it is recorded: plain values as they are, models with their class's name."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from pydantic import BaseModel, TypeAdapter

AS = "$as"
"""Names the class that a recorded value is made of again."""


def kept(value: Any, *, otherwise: Any = str) -> Any:
    """The recorded form of `value`. One that could not be made of its record again is given as `otherwise(value)`.

    That is what the SDK itself makes of such a value: it tells the model `str(value)`.
    """
    if _plain(value):
        return value
    form = _form(value)
    if form is not None:
        try:
            again = whole(form)
            if type(again) is type(value) and again == value:
                return form
        except Exception:
            pass  # its class does not take what it gave
    return otherwise(value)


def whole(form: Any) -> Any:
    """What `kept` made, read back. A class is found only if it is loaded: nothing is imported because a record says so.

    Where it is not, the plain value is given.
    """
    if isinstance(form, list):
        return [whole(part) for part in form]
    if not isinstance(form, dict):
        return form
    if form.keys() != {AS, "value"}:
        return {name: whole(part) for name, part in form.items()}
    found = _class(str(form[AS]))
    return form["value"] if found is None else TypeAdapter(found).validate_json(json.dumps(form["value"]))


def _plain(value: Any) -> bool:
    """Whether the value comes back from JSON as it is."""
    if value is None or type(value) in (str, bool, int, float):
        return True
    if type(value) is list:
        return all(map(_plain, value))
    return (
        type(value) is dict and AS not in value and all(type(key) is str for key in value) and _plain([*value.values()])
    )


def _form(value: Any) -> Any:
    kind = type(value)
    if kind in (list, tuple):
        parts = [part if _plain(part) else _form(part) for part in value]
        return None if kind is tuple or any(part is None for part in parts) else parts
    if not (isinstance(value, BaseModel) or dataclasses.is_dataclass(value)):
        return None
    name = f"{kind.__module__}:{kind.__qualname__}"
    if _class(name) is not kind:
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        return {AS: name, "value": adapter.dump_python(value, mode="json")}
    except Exception:
        return None


def _class(name: str) -> type[Any] | None:
    """The loaded model or dataclass of this name."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    is_value = isinstance(found, type) and (issubclass(found, BaseModel) or dataclasses.is_dataclass(found))
    return found if is_value else None
