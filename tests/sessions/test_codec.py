"""The canonical form: nothing is lost, nothing depends on the process, nothing crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, RootModel, field_serializer

from agentstream.errors import NotSerializable
from agentstream.sessions import codec

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=8)  # lone surrogates included
    | st.sampled_from(["$int", "$map", "$items", "$"])
    | st.binary(max_size=8)
    | st.datetimes(timezones=st.none() | st.just(timezone(timedelta(hours=2, seconds=7))) | st.just(timezone.utc))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
members = scalars | st.tuples(scalars, scalars) | st.frozensets(st.integers() | st.text(max_size=3), max_size=3)
keys = st.text(max_size=6) | st.sampled_from(["$int", "$map", "$set", "$items", "$x"]) | members


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)


plain = st.recursive(scalars | st.sets(members, max_size=4), containers, max_leaves=25)

json_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
)
tags = st.sampled_from(
    ["$int", "$float", "$str", "$bytes", "$datetime", "$date", "$time", "$timedelta", "$decimal", "$uuid"]
)
odd_text = st.sampled_from(
    ["", "x", "1", "nan", "sNaN", "1e" + "9" * 18, "\\ud8", "9" * 5000, "0x", "2024-13-01", "Z[../x]"]
)
json_values = st.recursive(
    json_scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | tags, inner, max_size=3)
        | st.dictionaries(tags | st.sampled_from(["$path", "$new", "$items"]), inner | odd_text, min_size=1, max_size=1)
        | st.dictionaries(
            st.sampled_from(["$set", "$map"]), inner | st.lists(st.lists(inner, max_size=3)), min_size=1, max_size=1
        )
    ),
    max_leaves=25,
)


def data(value: object) -> Any:
    return codec.encode(value).data


def back(value: object) -> Any:
    """What a recorded value is when it is read: through the bytes, as a store keeps them."""
    return codec.decode(codec.loads(codec.dumps(data(value))))


def same(one: Any, other: Any) -> bool:
    """Equal also in type: `True` is not `1`, `1.0` is not `1`."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(key, name) and same(one[key], other[name]) for key, name in zip(one, other, strict=True)
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


@given(plain)
def test_a_plain_value_comes_back_as_it_was(value: Any) -> None:
    assert same(back(value), value)


@given(plain)
def test_encoding_what_was_decoded_gives_the_same_form(value: Any) -> None:
    form = data(value)
    again = data(codec.decode(form))
    assert codec.dumps(again) == codec.dumps(form)


@given(plain)
def test_a_form_is_plain_json_that_a_number_rewriting_server_cannot_change(value: Any) -> None:
    text = codec.dumps(data(value))

    def refuse(number: str) -> float:
        parsed = float(number)
        assert not parsed.is_integer(), f"{number} would become {int(parsed)}"
        return parsed

    def small(number: str) -> int:
        assert abs(int(number)) <= 2**53
        return int(number)

    json.loads(text.decode("utf-8"), parse_float=refuse, parse_int=small, parse_constant=refuse)


@given(json_values)
def test_any_json_can_be_decoded(value: Any) -> None:
    made = codec.decode(value)
    codec.encode(made)  # and what comes out is a value like any other
    codec.canonical(value)


@given(plain, st.randoms())
def test_a_fingerprint_does_not_depend_on_order(value: Any, random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = list(value.items())
            random.shuffle(items)
            return {key: shuffled(item) for key, item in items}
        if isinstance(value, list):
            return [shuffled(item) for item in value]
        if isinstance(value, set):
            members = list(value)
            random.shuffle(members)
            return set(members)
        return value

    assert codec.fingerprint(data(shuffled(value))) == codec.fingerprint(data(value))


def test_a_fingerprint_does_not_depend_on_the_process() -> None:
    program = (
        "from agentstream.sessions import codec\n"
        "value = {'b': {'x', 'y', 'z', 'w'}, 'a': {2: 'two', 1: 'one'}, 'f': 1e-7}\n"
        "print(codec.fingerprint(codec.encode(value).data))"
    )
    prints = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "2")
    ]
    # Written down, because recorded sessions hold it: another value here breaks the resuming of every one of them.
    assert prints == ["PGm_cUFmtYlv68CGEAqDDw"] * 3


def test_canonical_text_is_sorted_dense_and_utf8() -> None:
    value = {"b": [1, 0.1, 1e-07], "a": {"é": None, "Z": True}, "m": {2: "b", 1: "a"}}
    assert codec.canonical(data(value)) == (
        '{"a":{"Z":true,"é":null},"b":[1,0.1,1e-07],"m":{"$map":[[1,"a"],[2,"b"]]}}'.encode()
    )


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e-3, 1e-3) | st.integers(-(2**53), 2**53)
told = st.text(max_size=12) | st.sampled_from(["1e-7", "re-use", "8e-4f", "0.0000", "\x7f\x00", "\u2028"])


@given(st.recursive(numbers | told, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12))
def test_canonical_text_is_what_the_standard_library_writes(value: Any) -> None:
    form = data(value)
    assume('"$map"' not in str(codec.dumps(form)))
    told = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert codec.canonical(form) == told.encode("utf-8", "surrogatepass")


def test_a_fingerprint_tells_apart_what_differs() -> None:
    values = [
        1,
        True,
        1.0,
        "1",
        b"1",
        [1],
        {"1": 1},
        {1: 1},
        {1},
        None,
        "",
        [],
        {},
        set(),
        Decimal(1),
        "\ud800",
        "\\ud800",
    ]
    assert len({codec.fingerprint(data(value)) for value in values}) == len(values)
    assert all(len(codec.fingerprint(data(value))) == 22 for value in values)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (2**53, 2**53),
        (2**53 + 1, {"$int": "9007199254740993"}),
        (-(2**64), {"$int": "-18446744073709551616"}),
        (1.0, {"$float": "1.0"}),
        (-0.0, {"$float": "-0.0"}),
        (1e300, {"$float": "1e+300"}),
        (float("inf"), {"$float": "inf"}),
        (0.5, 0.5),
        (b"hi", {"$bytes": "aGk="}),
        ("\ud800é", {"$str": "\\ud800\\xe9"}),
        ({1, 3, 2}, {"$set": [1, 2, 3]}),
        ({"$a": 1}, {"$map": [["$a", 1]]}),
        ({"$items": ["1.0"]}, {"$map": [["$items", ["1.0"]]]}),
        ({(1, 2): "x"}, {"$map": [[[1, 2], "x"]]}),
        (date(2024, 5, 1), {"$date": "2024-05-01"}),
        (datetime(2024, 5, 1, 12, tzinfo=timezone.utc), {"$datetime": "2024-05-01T12:00:00+00:00"}),
        (time(12, 30), {"$time": "12:30:00"}),
        (timedelta(seconds=1.5), {"$timedelta": "1500000"}),
        (Decimal("1.50"), {"$decimal": "1.50"}),
        (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
        (Path("a") / "b", {"$path": str(Path("a/b"))}),
    ],
)
def test_each_form(value: Any, form: Any) -> None:
    encoded = codec.encode(value)
    assert same(encoded.data, form)
    assert not encoded.typed
    assert back(value) == value


def test_nan_comes_back() -> None:
    assert data(float("nan")) == {"$float": "nan"}
    assert str(back(float("nan"))) == "nan"
    assert str(back(Decimal("sNaN"))) == "sNaN"


def test_numbers_too_long_for_decimal_text() -> None:
    assert back(10**6000) == 10**6000
    assert back(-(10**6000)) == -(10**6000)
    assert codec.decode({"$int": "9" * 5000}) == {"$int": "9" * 5000}


def test_an_integer_that_a_server_wrote_as_a_float_is_an_integer() -> None:
    assert same(codec.decode([5.0, 0.5, {"a": -2.0}]), [5, 0.5, {"a": -2}])


@pytest.mark.parametrize("fold", [0, 1])
def test_a_named_zone_is_kept_also_where_the_hour_comes_twice(fold: int) -> None:
    value = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
    made = back(value)
    assert made.tzinfo is value.tzinfo
    assert (made.replace(tzinfo=None), made.fold) == (value.replace(tzinfo=None), fold)


def test_a_zone_of_another_machine_leaves_its_offset() -> None:
    form = {"$datetime": "2024-05-01T12:00:00+02:00[Europe/Atlantis]"}
    assert codec.decode(form) == datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))


def test_builtin_relatives_are_written_as_their_base() -> None:
    class Name(str):
        __slots__ = ()

    class Count(int):
        def __str__(self) -> str:
            return "many"

    values = [
        Name("x"),
        Count(3),
        OrderedDict(a=1),
        Counter("aab"),
        deque([1, 2]),
        MappingProxyType({"a": 1}),
        {Name("k"): 1},
    ]
    assert same(back(values), ["x", 3, {"a": 1}, {"a": 2, "b": 1}, [1, 2], {"a": 1}, {"k": 1}])
    assert same(back([bytearray(b"a"), memoryview(b"abcd")[::2], (1, (2,))]), [b"a", b"ac", [1, [2]]])
    assert not codec.encode(values).typed


def test_a_long_text_is_no_trouble() -> None:
    value = {"text": "é" * 5_000_000}
    assert back(value) == value


# -- class instances


class Color(Enum):
    RED = "red"
    BLUE = b"\x00"


class Level(IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int
    y: float


@dataclass(frozen=True)
class Line:
    ends: tuple[Point, Point]
    color: Color = Color.RED
    tags: frozenset[str] = frozenset()


class Address(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    street: str = Field(alias="streetName")
    since: datetime | None = None


class Person(BaseModel):
    name: str = Field(validation_alias=AliasChoices("full_name", "n"), serialization_alias="shown")
    level: Level = Level.HIGH
    balance: Decimal = Decimal("0.10")
    homes: dict[str, Address] = {}
    avatar: bytes = b"\xff"
    secret: str = Field(default="", exclude=True)


class ByName(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    street: str = Field(alias="streetName")


class People(RootModel[list[Person]]):
    pass


class Reading(BaseModel):
    """Holds something only its own serializer can write."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    values: Any

    @field_serializer("values")
    def write(self, values: Any) -> list[float]:
        return list(values)


class Cat(msgspec.Struct, tag="cat", rename="camel"):
    given_name: str


class Pair(msgspec.Struct, array_like=True):
    one: int
    two: Cat


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Color.BLUE, Color),
        ({Color.RED: Level.HIGH}, dict[Color, Level]),
        (Point(1, 2.0), Point),
        (Line((Point(1, 2.5), Point(3, 4.0)), Color.BLUE, frozenset({"a", "b"})), Line),
        ([Line((Point(1, 2.5), Point(3, 4.0)))], list[Line]),
        ({Line((Point(1, 2.5), Point(3, 4.0)))}, set[Line]),
        (Address.model_validate({"streetName": "s", "since": datetime(2024, 1, 1), "extra": 1}), Address),
        (Person(full_name="Ann", homes={"a": Address(streetName="s")}), Person),  # pyright: ignore[reportCallIssue]
        (ByName.model_validate({"street": "s"}), ByName),
        (People([Person(n="Ann")]), People),  # pyright: ignore[reportCallIssue]
        (Person(n="Ann"), int | Person),  # pyright: ignore[reportCallIssue]
        (Cat("Tom"), Cat),
        ([Pair(1, Cat("Tom"))], list[Pair]),
        (Level.HIGH, Annotated[Level, []]),
    ],
)
def test_an_instance_is_made_again_from_its_annotation(value: Any, annotation: Any) -> None:
    encoded = codec.encode(value)
    assert encoded.typed
    made = codec.rebuild(codec.decode(codec.loads(codec.dumps(encoded.data))), annotation)
    assert made == value
    assert type(made) is type(value)


def test_the_names_of_fields_are_those_that_validation_reads() -> None:
    assert data(Person(n="Ann")) == {  # pyright: ignore[reportCallIssue]
        "full_name": "Ann",
        "level": 3,
        "balance": {"$decimal": "0.10"},
        "homes": {},
        "avatar": {"$bytes": "/w=="},
    }
    assert data(Cat("Tom")) == {"type": "cat", "givenName": "Tom"}
    assert data(Point(1, 2.0)) == [1, {"$float": "2.0"}]


def test_a_field_of_a_base_class_keeps_what_the_instance_has() -> None:
    class Animal(BaseModel):
        name: str

    class Dog(Animal):
        breed: str

    class Zoo(BaseModel):
        animals: list[Animal]

    assert data(Zoo(animals=[Dog(name="Rex", breed="collie")])) == {"animals": [{"name": "Rex", "breed": "collie"}]}


def test_a_model_that_says_how_it_is_written_is_believed() -> None:
    assert data(Reading(values=iter([1.5, 2.5]))) == {"values": [1.5, 2.5]}


def test_a_set_of_instances_is_a_list_in_an_order_of_its_own() -> None:
    one, two = (Line((Point(n, 0.5), Point(n, 0.5))) for n in (1, 2))
    assert data({one, two}) == data({two, one}) == [data(one), data(two)]


# -- what has no form


class Client:
    pass


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            {"order": {"customer": Client()}},
            "arguments.order.customer is of type test_codec.Client, which",
        ),
        ([1, 2, 3, {"client": Client()}], "arguments[3].client is of type"),
        (Person.model_construct(name=Client()), "arguments.full_name is of type"),
        (Line(ends=(Point(1, Client()), Point(1, 2))), "arguments.ends[0][1] is of type"),  # type: ignore[arg-type]
        ({"a b": Client()}, "arguments['a b'] is of type"),
        ({7: {"x": Client()}}, "arguments[7].x is of type"),
        ({Client(): 1}, "arguments[<Client>] is of type"),
        ({1, Client()}, "is of type"),
        (Client, "arguments is the class"),
        (1j, "arguments is of type complex, which has no JSON form"),
        (ValueError("x"), "arguments is of type ValueError"),
        ((n for n in [1]), "arguments is of type generator"),
        ({Color.RED: 1, "red": 2}, "arguments has keys that become one and the same"),
        ({Line((Point(1, 2), Point(1, 2))): 1}, "arguments has keys that are class instances"),
        ({Color.RED, "red"}, "arguments has members that become one and the same"),
    ],
)
def test_what_has_no_form_is_named_with_its_path(value: Any, says: str) -> None:
    with pytest.raises(NotSerializable) as caught:
        codec.encode(value, where="arguments")
    assert says in str(caught.value).replace(f"{__name__}.", "test_codec.")
    assert "Use a plain value" in str(caught.value)


def test_only_a_steps_input_has_key_as_a_way_out() -> None:
    with pytest.raises(NotSerializable, match="or give the step key="):
        codec.encode(object(), where="input of lookup")
    with pytest.raises(NotSerializable) as caught:
        codec.encode(object(), where="result of lookup")
    assert "key=" not in str(caught.value)


def test_a_coroutine_is_called_by_its_name() -> None:
    async def work() -> None: ...

    coroutine = work()
    with pytest.raises(NotSerializable, match="is a coroutine that nobody awaited"):
        codec.encode(coroutine)
    coroutine.close()


def test_an_object_that_cannot_be_read_is_no_traceback_from_inside() -> None:
    def torn() -> Iterator[float]:
        raise OSError("the disk is gone")
        yield 1.0

    with pytest.raises(NotSerializable, match=r"result cannot be read: .*the disk is gone"):
        codec.encode(Reading.model_construct(values=torn()), where="result")


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


@dataclass(frozen=True)
class Box:
    inside: Any


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda value: [value],
    "dict": lambda value: {"a": value},
    "map": lambda value: {1: value},
    "set": lambda value: frozenset([value]),
    "tuple": lambda value: (value,),
    "dataclass": Box,
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_deepest_value_that_has_a_form_is_of_use_everywhere(wrap: str) -> None:
    levels = next(n for n in range(codec.DEEPEST, 0, -1) if has_form(nested(n, WRAPS[wrap])))
    assert levels >= codec.DEEPEST // 3
    form = data(nested(levels, WRAPS[wrap]))
    assert codec.loads(codec.dumps(form)) == form
    assert data(codec.decode(form)) == form
    assert codec.fingerprint(form)


@pytest.mark.parametrize("kind", ["late key", "map", "set", "malformed"])
def test_nesting_costs_no_more_than_its_depth(kind: str) -> None:
    """Each of these doubles its cost with every level if a level handles its parts twice: 2**60 steps never end."""
    wraps: dict[str, Callable[[Any], Any]] = {
        "late key": lambda value: {"a": value, 1: 0},
        "map": lambda value: {(1, 2): value, "$x": 0},
        "set": lambda value: frozenset([value, 0]),
        "malformed": lambda value: {"$set": [value, {"$map": [[{}, 0]]}]},
    }
    form = data(nested(60, wraps[kind])) if kind != "malformed" else nested(60, wraps[kind])
    assert codec.fingerprint(form)
    assert codec.decode(form)


def has_form(value: Any) -> bool:
    try:
        codec.encode(value)
    except NotSerializable:
        return False
    return True


@pytest.mark.parametrize("wrap", WRAPS)
def test_what_is_nested_too_deeply_is_refused(wrap: str) -> None:
    with pytest.raises(NotSerializable, match="deep"):
        codec.encode(nested(codec.DEEPEST + 1, WRAPS[wrap]))


@pytest.mark.parametrize("kind", ["list", "dict", "root"])
def test_what_contains_itself_is_refused(kind: str) -> None:
    loop: Any = {"list": [], "dict": {}, "root": People.model_construct([])}[kind]
    if kind == "list":
        loop.append({"x": loop})
    elif kind == "dict":
        loop["a"] = [loop]
    else:
        loop.root = loop
    with pytest.raises(NotSerializable, match="deep"):
        codec.encode(loop)


def test_a_record_of_any_depth_can_be_decoded_and_none_is_refused_with_a_traceback() -> None:
    deep = nested(100_000, lambda value: {"$set": [value]})
    assert codec.decode(deep)
    with pytest.raises(NotSerializable, match="deep"):
        codec.canonical(deep)
    for text in (b"[" * 100_000, b"{", b"", b"\xff", b'"\\ud800"', b"nan"):
        with pytest.raises(ValueError, match="not JSON that can be read"):
            codec.loads(text)


@pytest.mark.parametrize(
    "form",
    [
        {"$future": "x"},
        {"$future": {"a": [1]}},
        {"$int": 5},
        {"$int": "five"},
        {"$int": "1", "b": 2},
        {"$float": "x"},
        {"$bytes": "not base64!"},
        {"$bytes": "é"},
        {"$datetime": "yesterday"},
        {"$timedelta": "9" * 40},
        {"$decimal": "many"},
        {"$uuid": ""},
        {"$path": 3},
        {"$str": "\\ud8"},
        {"$set": "ab"},
        {"$set": [{"a": 1}]},
        {"$map": [["a"]]},
        {"$map": [["a", 1, 2]]},
        {"$map": [[{"a": 1}, 1]]},
        {"$map": {"a": 1}},
    ],
)
def test_tags_that_are_not_ours_come_back_as_they_are(form: Any) -> None:
    assert same(codec.decode(form), form)


def test_a_decoded_value_shares_nothing_with_the_record() -> None:
    record: Any = {"a": [1], "b": {"$set": [{"x": []}]}, "c": {"$future": [1]}}
    made = codec.decode(record)
    made["a"].append(2)
    made["b"]["$set"][0]["x"].append(2)
    made["c"]["$future"].append(2)
    assert record == {"a": [1], "b": {"$set": [{"x": []}]}, "c": {"$future": [1]}}


# -- annotations


def test_without_an_annotation_a_value_stays_as_it_is() -> None:
    value = {"a": [1]}
    assert codec.rebuild(value, None) is value
    assert codec.rebuild(value, Any) is value


@pytest.mark.parametrize("annotation", [Color, Line, Person, list[Point], Cat, Iterator[Cat], "NoSuchName", Client])
def test_an_annotation_that_does_not_fit_is_named(annotation: Any) -> None:
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    with pytest.raises(NotSerializable) as caught:
        codec.rebuild(3.5, annotation)
    assert name.rpartition(".")[2] in str(caught.value)


def test_annotations_of_functions() -> None:
    async def asks(a: Person, b: int = 1, *rest: Color, **more: Line) -> list[Point]:
        raise NotImplementedError

    def nothing(a, b):  # pyright: ignore
        raise NotImplementedError

    def lost(a: Person, b: NoSuchName) -> Point:  # noqa: F821  # pyright: ignore
        raise NotImplementedError

    def void() -> None:
        raise NotImplementedError

    assert codec.annotation_of_return(asks) == list[Point]
    assert codec.annotations_of_parameters(asks) == {"a": Person, "b": int, "rest": Color, "more": Line}
    assert codec.annotation_of_return(nothing) is None
    assert codec.annotations_of_parameters(nothing) == {}
    assert codec.annotation_of_return(lost) is Point
    assert codec.annotations_of_parameters(lost) == {"a": Person}
    assert codec.annotation_of_return(void) is type(None)


def test_annotations_of_what_is_called_like_a_function() -> None:
    class Tool:
        def __call__(self, a: Person) -> Point:
            raise NotImplementedError

        def method(self, a: int) -> Line:
            raise NotImplementedError

    assert codec.annotation_of_return(Tool()) is Point
    assert codec.annotation_of_return(Tool().method) is Line
    assert codec.annotation_of_return(partial(Tool().method, a=1)) is Line
    assert codec.annotation_of_return(len) is None
