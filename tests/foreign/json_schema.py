"""As much of JSON Schema (draft 7) as the State Protocol's schema uses. Any other keyword is an error."""

from __future__ import annotations

from datetime import datetime
from typing import Any

TYPES: dict[str, Any] = {
    "string": str, "number": (int, float), "boolean": bool, "null": type(None), "array": list, "object": dict
}  # fmt: skip
SAID = {"$schema", "$id", "title", "description", "examples", "definitions"}


def problems(value: Any, schema: dict[str, Any], whole: dict[str, Any], at: str = "") -> list[str]:
    """What is wrong with a value; nothing if it is valid."""
    found: list[str] = []
    for keyword, told in schema.items():
        if keyword not in SAID:
            found += _checked(keyword, value, told, schema, whole, at)
    return found


def _checked(keyword: str, value: Any, told: Any, schema: dict[str, Any], whole: dict[str, Any], at: str) -> list[str]:
    if keyword == "$ref":
        return problems(value, whole["definitions"][told.rpartition("/")[2]], whole, at)
    if keyword == "type":
        fits = isinstance(value, TYPES[told]) and (told == "boolean" or not isinstance(value, bool))
        return [] if fits else [f"{at} is no {told}"]
    if keyword == "oneOf":
        each = [problems(value, one, whole, at) for one in told]
        return [] if sum(not one for one in each) == 1 else [f"{at} fits not just one of {len(told)}: {each}"]
    if keyword == "allOf":
        return [problem for one in told for problem in problems(value, one, whole, at)]
    if keyword == "if":
        return problems(value, schema["then"], whole, at) if not problems(value, told, whole, at) else []
    if keyword == "enum":
        return [] if value in told else [f"{at} is {value!r}, not one of {told}"]
    if keyword == "const":
        return [] if value == told else [f"{at} is not {told!r}"]
    if keyword == "minLength":
        return [f"{at} is too short"] if isinstance(value, str) and len(value) < told else []
    if keyword == "format":
        assert told == "date-time"
        return [] if _is_moment(value) else [f"{at} is no moment: {value!r}"]
    if keyword in ("required", "properties", "additionalProperties"):
        return _object(keyword, value, told, schema, whole, at) if isinstance(value, dict) else []
    assert keyword == "then", f"the schema uses {keyword!r}, which is not known here"
    return []


def _object(keyword: str, value: Any, told: Any, schema: dict[str, Any], whole: dict[str, Any], at: str) -> list[str]:
    if keyword == "required":
        return [f"{at} has no {name!r}" for name in told if name not in value]
    if keyword == "additionalProperties":
        assert told is False
        return [f"{at} has {name!r} besides" for name in value if name not in schema["properties"]]
    return [
        problem
        for name, one in told.items()
        if name in value
        for problem in problems(value[name], one, whole, f"{at}.{name}")
    ]


def _is_moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        return False
