"""JSON schemas, as far as forms for people use them; pydantic has the last word and judges beside."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agentstream.sessions.schemas import problem, same

FITS = [
    ({}, object),
    (True, 1),
    ({"type": "integer"}, 5),
    ({"type": "integer"}, 5.0),
    ({"type": ["string", "null"]}, None),
    ({"type": "strange"}, 1),
    ({"enum": [1, "a"]}, 1.0),
    ({"const": {"a": [1]}}, {"a": [1.0]}),
    ({"minimum": 1, "maximum": 2}, 1),
    ({"multipleOf": 0.1}, 0.3),
    ({"maxLength": 2}, "ab"),
    ({"pattern": "^a"}, "ab"),
    ({"pattern": "(?P<"}, "another dialect"),
    ({"prefixItems": [{"type": "integer"}], "items": False}, [1]),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
    ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, 1),
    ({"not": {"type": "string"}}, 1),
    ({"$ref": "#/$defs/no~1such"}, 1),
    ({"$ref": "elsewhere.json"}, 1),
    ({"required": ["a"]}, "no object"),
    ({"unknownKeyword": 7}, 1),
    ({"minLength": "two"}, "a"),
]
MISFITS = [
    (False, 1, "not allowed"),
    ({"type": "integer"}, True, "integer"),
    ({"type": "integer"}, 5.5, "integer"),
    ({"type": "number"}, "5", "number"),
    ({"enum": [1, 0]}, True, "none of"),
    ({"const": 1}, 2, "is not 1"),
    ({"exclusiveMinimum": 1}, 1, "more than 1"),
    ({"exclusiveMaximum": 1}, 1, "less than 1"),
    ({"multipleOf": 2}, 3, "multiple of"),
    ({"minLength": 2}, "a", "fewer than 2"),
    ({"pattern": "^a"}, "b", "match"),
    ({"type": "object", "required": ["a"]}, {}, "has no 'a'"),
    ({"properties": {"a": {"properties": {"b": {"type": "null"}}}}}, {"a": {"b": 1}}, "value.a.b"),
    ({"additionalProperties": False}, {"x": 1}, "not asked for"),
    ({"additionalProperties": {"type": "string"}}, {"x": 1}, "value.x"),
    ({"items": {"type": "string"}}, ["a", 1], r"value\[1\]"),
    ({"prefixItems": [{"type": "integer"}], "items": False}, [1, 2], r"value\[1\]"),
    ({"maxItems": 1}, [1, 2], "more than 1"),
    ({"uniqueItems": True}, [1, 1.0], "twice"),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "none of the forms"),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, 1, "only one"),
    ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, 4, "at most 3"),
    ({"not": {"type": "string"}}, "a", "not allowed"),
    ({"$defs": {"n": {"type": "null"}}, "$ref": "#/$defs/n"}, 1, "null"),
]


@pytest.mark.parametrize(("schema", "value"), FITS)
def test_fits(schema: Any, value: Any) -> None:
    assert problem(schema, value) is None


@pytest.mark.parametrize(("schema", "value", "words"), MISFITS)
def test_misfits_say_where_and_why(schema: Any, value: Any, words: str) -> None:
    import re

    told = problem(schema, value)
    assert told is not None
    assert re.search(words, told), told


def test_a_schema_that_names_itself_comes_to_an_end() -> None:
    assert problem({"$ref": "#"}, 1) is None
    tree = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    assert problem(tree, {"child": {"child": 3}}) == "value.child.child is not of type object: 3"


def test_truth_is_no_number() -> None:
    assert same(1, 1.0)
    assert same({"a": [1, None]}, {"a": [1.0, None]})
    assert not same(1, True)
    assert not same([0], [False])
    assert not same({"a": 1}, {"a": 1, "b": 2})


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leg(BaseModel):
    model_config = ConfigDict(extra="forbid")
    to: Annotated[str, Field(min_length=1, max_length=3)]
    nights: Annotated[int, Field(ge=1, lt=30)] = 1


class Trip(BaseModel):
    legs: Annotated[list[Leg], Field(min_length=1)]
    color: Color
    kind: Literal["work", "leisure"] | None = None
    extra: dict[str, float] = {}


TRIP = TypeAdapter(Trip)
LEG = st.fixed_dictionaries(
    {"to": st.text(max_size=4)}, optional={"nights": st.integers(-1, 40) | st.none(), "x": st.just(1)}
)
ANY = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3)
TRIPS = st.fixed_dictionaries(
    {"legs": st.lists(LEG, max_size=2) | ANY, "color": st.sampled_from(["red", "blue", "green", 1])},
    optional={
        "kind": st.sampled_from(["work", "leisure", None, "play"]),
        "extra": st.dictionaries(st.text(max_size=2), ANY, max_size=2) | ANY,
    },
)


@given(TRIPS)
def test_what_pydantic_takes_strictly_is_never_refused_and_the_reverse(value: Any) -> None:
    try:
        TRIP.validate_json(json.dumps(value), strict=True)
        taken = True
    except ValidationError:
        taken = False
    assert (problem(TRIP.json_schema(), value) is None) == taken
