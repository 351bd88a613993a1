"""Whether a JSON value fits a JSON Schema: the part of the standard that forms for people use.

Understood are type, enum, const, properties, required, additionalProperties, items,
prefixItems, anyOf, oneOf, allOf, not, local $ref, and the bounds of numbers, lengths and
patterns. A keyword that is not understood refuses nothing: whoever asked checks the answer
again by the type the schema was made of, and that has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

DEEPEST = 100
"""References and levels followed, at most: a guard against schemas that name themselves."""


def problem(schema: Any, value: Any) -> str | None:
    """What is wrong with `value`, with its place; None if it fits."""
    return next(_problems(schema, value, "value", schema, 0), None)


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: numbers by their value, true and false are no numbers."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return one == other


def _problems(schema: Any, value: Any, where: str, root: Any, depth: int) -> Iterator[str]:
    if schema is False:
        yield f"{where} is not allowed"
    if not isinstance(schema, dict) or depth > DEEPEST:
        return
    if "$ref" in schema:
        yield from _problems(_resolve(root, schema["$ref"]), value, where, root, depth + 1)
    yield from _plain(schema, value, where)
    yield from _combined(schema, value, where, root, depth)
    if isinstance(value, dict):
        yield from _members(schema, value, where, root, depth)
    if isinstance(value, list):
        yield from _elements(schema, value, where, root, depth)


def _resolve(root: Any, reference: Any) -> Any:
    """What a local reference (`#/$defs/Name`) points at; True, which everything fits, where it points nowhere."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    found = root
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            return True
        found = found[name]
    return found


# --- one value -------------------------------------------------------------------------------------------------------

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": lambda value: _is_number(value),
    "integer": lambda value: (
        _is_number(value) and float(value).is_integer() if isinstance(value, float) else _is_number(value)
    ),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    known = [name for name in names if name in _TYPES]
    if known and len(known) == len(names) and not any(_TYPES[name](value) for name in known):
        yield f"{where} is not of type {' or '.join(known)}: {_shown(value)}"
    allowed = schema.get("enum")
    if isinstance(allowed, list) and not any(same(value, each) for each in allowed):
        yield f"{where} is none of {', '.join(map(_shown, allowed))}: {_shown(value)}"
    if "const" in schema and not same(value, schema["const"]):
        yield f"{where} is not {_shown(schema['const'])}: {_shown(value)}"
    if _is_number(value):
        yield from _bounds(schema, value, where)
    if isinstance(value, str):
        yield from _size(schema, len(value), "Length", "characters", where)
        if isinstance(schema.get("pattern"), str) and not _found(schema["pattern"], value):
            yield f"{where} does not match {schema['pattern']!r}: {_shown(value)}"


def _bounds(schema: dict[str, Any], value: float, where: str) -> Iterator[str]:
    checks: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
        ("minimum", "at least", lambda limit: value >= limit),
        ("maximum", "at most", lambda limit: value <= limit),
        ("exclusiveMinimum", "more than", lambda limit: value > limit),
        ("exclusiveMaximum", "less than", lambda limit: value < limit),
        ("multipleOf", "a multiple of", lambda step: step <= 0 or abs(value / step - round(value / step)) < 1e-9),
    )
    for keyword, words, fits in checks:
        limit = schema.get(keyword)
        if _is_number(limit) and not fits(limit):
            yield f"{where} is not {words} {limit}: {_shown(value)}"


def _size(schema: dict[str, Any], size: int, suffix: str, what: str, where: str) -> Iterator[str]:
    least, most = schema.get(f"min{suffix}"), schema.get(f"max{suffix}")
    if _is_number(least) and size < least:  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]
        yield f"{where} has {size} {what}, fewer than {least}"
    if _is_number(most) and size > most:  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]
        yield f"{where} has {size} {what}, more than {most}"


def _found(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True  # another dialect of patterns, which is not ours to judge


# --- values inside ---------------------------------------------------------------------------------------------------


def _members(schema: dict[str, Any], value: dict[str, Any], where: str, root: Any, depth: int) -> Iterator[str]:
    yield from _size(schema, len(value), "Properties", "members", where)
    required, properties = schema.get("required"), schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    for name in required if isinstance(required, list) else ():
        if name not in value:
            yield f"{where} has no {name!r}"
    others = schema.get("additionalProperties", True)
    for name, member in value.items():
        if name in properties:
            yield from _problems(properties[name], member, f"{where}.{name}", root, depth + 1)
        elif others is False and "patternProperties" not in schema:
            yield f"{where} has {name!r}, which is not asked for"
        elif isinstance(others, dict) and "patternProperties" not in schema:
            yield from _problems(others, member, f"{where}.{name}", root, depth + 1)


def _elements(schema: dict[str, Any], value: list[Any], where: str, root: Any, depth: int) -> Iterator[str]:
    yield from _size(schema, len(value), "Items", "elements", where)
    first = schema.get("prefixItems")
    first = first if isinstance(first, list) else []
    for number, element in enumerate(value):
        inner = first[number] if number < len(first) else schema.get("items", True)
        yield from _problems(inner, element, f"{where}[{number}]", root, depth + 1)
    if schema.get("uniqueItems") is True and any(same(a, b) for n, a in enumerate(value) for b in value[:n]):
        yield f"{where} has an element twice"


def _combined(schema: dict[str, Any], value: Any, where: str, root: Any, depth: int) -> Iterator[str]:
    for part in _list(schema, "allOf"):
        yield from _problems(part, value, where, root, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        parts = _list(schema, keyword)
        found = [next(_problems(part, value, where, root, depth + 1), None) for part in parts]
        fitting = found.count(None)
        if parts and not fitting:
            yield (
                found[0]
                if len(found) == 1 and found[0]
                else f"{where} fits none of the forms asked for: {_shown(value)}"
            )
        elif keyword == "oneOf" and fitting > 1:
            yield f"{where} fits {fitting} of the forms asked for, and only one is allowed: {_shown(value)}"
    if "not" in schema and next(_problems(schema["not"], value, where, root, depth + 1), None) is None:
        yield f"{where} is what is not allowed: {_shown(value)}"


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    found = schema.get(keyword)
    return found if isinstance(found, list) else []


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:79] + "…"
