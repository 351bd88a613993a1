"""Rules: what looks like a credential, paths, fields, texts that come in pieces."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redact_kit import BADGE, CARD, PASSWORD, RULES, SHAPED

from agentstream import Redact, Redacted
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.sessions import codec
from agentstream.sessions.redaction import Rules

BACKEND = EmbeddedBackend(None)


def after(value: Any, redact: Redact | bool = True, at: str = "arguments") -> Any:
    return codec.decode(Rules(redact, BACKEND).encode(value, where="value", at=at).data)


@pytest.mark.parametrize("secret", SHAPED)
def test_shapes(secret: str) -> None:
    assert isinstance(after(secret), Redacted)
    said = after(f"it is {secret} here")
    assert said.startswith("it is [redacted: ")
    assert said.endswith("] here")
    assert secret not in said
    assert secret not in str(after({secret: {1: [{secret}, secret.encode()]}}))
    assert secret not in after(f"0{secret} 1{secret}")
    assert secret not in json.loads(after(json.dumps({"a": f"on a line\n{secret}\n"})))["a"]


@pytest.mark.parametrize(
    "text",
    [
        "task-management-for-small-teams-and-others",
        "sk-learn is a library, and so is sk-learn-contrib-imbalanced",
        "the bearer certificates are in the basic understanding",
        "https://example.org/a?page=2&q=key",
        "2024-05-01 12:00:00 4111111111111112",
        "eyJ is how JSON begins",
        "a commit: 3f786850e387550fdab836ed7e6dc881de23001b",
    ],
)
def test_what_only_resembles_them_stays(text: str) -> None:
    assert after(text, Redact(cards=True)) == text


def test_in_context() -> None:
    told = "Authorization: Basic dXNlcjpwYXNz\nCookie: a=b; c=d\nAuthorization: Bearer abc123def456\n"
    assert after(told) == (
        "Authorization: Basic [redacted: basic]\nCookie: [redacted: cookie]\nAuthorization: Bearer [redacted: bearer]\n"
    )
    assert after("postgres://u:p@h/d?sslmode=x&password=y&z=1") == (
        "postgres://[redacted: userinfo]@h/d?sslmode=x&password=[redacted: url_secret]&z=1"
    )
    assert after({"headers": {"X-Api-Key": "whatever", "Cookie": "a=b"}}) == {
        "headers": {"X-Api-Key": Redacted("X-Api-Key"), "Cookie": Redacted("Cookie")}
    }


def test_cards() -> None:
    redact = Redact(cards=True)
    assert after(f"pay with {CARD} 12/29", redact) == "pay with [redacted: card] 12/29"
    assert after(4111111111111111, redact) == Redacted("card")
    assert after(CARD) == CARD


def test_fields_also_in_json_in_a_text() -> None:
    redact = Redact(fields=["pass_word", "pin"])
    assert after({"Pass-Word": {"deep": 1}, "x": {"PASS_WORD": [1, 2]}, "pin": None, "other": 1}, redact) == {
        "Pass-Word": Redacted("pass_word"),
        "x": {"PASS_WORD": Redacted("pass_word")},
        "pin": None,
        "other": 1,
    }
    inner = json.dumps({"pass word": 'a "quoted" \\ one', "pin": 1234, "z": 1})
    for text in (inner, json.dumps({"arguments": inner})):
        said = after(text, redact)
        assert "quoted" not in said
        assert "1234" not in said
        read = json.loads(said)
        read = json.loads(read["arguments"]) if "arguments" in read else read
        assert read == {"pass word": "[redacted: field]", "pin": "[redacted: field]", "z": 1}


@pytest.mark.parametrize(
    ("path", "value", "kept"),
    [
        ("arguments.card.number", {"card": {"number": 1, "x": 2}}, {"card": {"number": Redacted, "x": 2}}),
        (
            "arguments.cards[*].number",
            {"cards": [{"number": 1}, {"n": 2}]},
            {"cards": [{"number": Redacted}, {"n": 2}]},
        ),
        ("arguments.*.n", {"a": {"n": 1}, "b": {"m": 1}}, {"a": {"n": Redacted}, "b": {"m": 1}}),
        ("arguments.a[1]", {"a": [1, 2]}, {"a": [1, Redacted]}),
        ("**.ssn", {"a": [{"ssn": {"x": 1}}], "ssn": 2}, {"a": [{"ssn": Redacted}], "ssn": Redacted}),
        ('arguments["a b"]["c.d"]', {"a b": {"c.d": 1}}, {"a b": {"c.d": Redacted}}),
        ("result.a", {"a": 1}, {"a": 1}),
        ("arguments", {"a": 1}, Redacted),
    ],
)
def test_paths(path: str, value: Any, kept: Any) -> None:
    def filled(part: Any) -> Any:
        if part is Redacted:
            return Redacted(path)
        if isinstance(part, dict):
            return {key: filled(item) for key, item in part.items()}
        return [filled(item) for item in part] if isinstance(part, list) else part

    assert after(value, Redact(paths=[path])) == filled(kept)


@pytest.mark.parametrize("path", ["", ".a", "a..b", "a.", "a[", "a[x]", "a b", "a[-1]", 5])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(ValueError, match="path"):
        Redact(paths=[path])


@pytest.mark.parametrize(
    "wrong",
    [
        {"fields": "password"},
        {"paths": "a.b"},
        {"fields": [""]},
        {"patterns": {"a": "("}},
        {"patterns": {"a": "x*"}},
        {"patterns": {"": "x"}},
        {"patterns": {"a": b"x"}},
        {"rule": 1},
        {"longest": 0},
    ],
)
def test_wrong_rules_are_told_at_once(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Redact(**wrong)
    with pytest.raises(TypeError):
        Rules("keys", BACKEND)  # type: ignore[arg-type]


def test_binary_data_keeps_its_length() -> None:
    data = b"\xa0\x2c" + SHAPED[0].encode() + b"\x00\xff"
    assert after(data) == b"\xa0\x2c" + b"*" * len(SHAPED[0]) + b"\x00\xff"


def test_keys_that_become_the_same_stay_two() -> None:
    first, second = SHAPED[0], SHAPED[0][:-1] + "x"
    assert len(after({first: 1, second: 2})) == 2


WORDS = [
    "so",
    "a,b",
    "Bearer",
    "cookie:",
    "-----BEGIN",
    "{",
    '"password":',
    '"x y',
    "1234",
    "\n",
    "https://u:p,q@h/?token=a,b&c",
]
TEXTS = st.lists(st.sampled_from([*WORDS, *SHAPED, CARD, BADGE, f'"password": "{PASSWORD}"']), max_size=12).map(
    " ".join
)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, seed=st.integers())
def test_a_text_in_pieces_is_what_it_is_in_one(text: str, seed: int) -> None:
    rules, dice = Rules(RULES, BACKEND), random.Random(seed)
    holding, said, at = rules.holding(), "", 0
    assert holding is not None
    while at < len(text):
        size = dice.choice([1, 1, 2, 7, 40])
        said += holding.add(text[at : at + size])
        at += size
    said += holding.rest()
    assert said == rules.text(text)


def test_plain_text_is_held_for_no_longer_than_its_last_word() -> None:
    holding = Rules(True, BACKEND).holding()
    assert holding is not None
    assert holding.add("one two thr") == "one two "
    assert holding.add("ee, four") == "three, "
    assert holding.rest() == "four"


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=8))
PLANTED = st.tuples(st.text(max_size=5), st.sampled_from(SHAPED), st.text(alphabet=" .,\n", max_size=3)).map(
    lambda parts: f"{parts[0]} {parts[1]}{parts[2]}"
)
TEXT = st.one_of(PLANTED, st.sampled_from(SHAPED))
VALUES = st.recursive(
    st.one_of(LEAVES, TEXT, TEXT.map(str.encode)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=5), TEXT, st.integers()), inner, max_size=4),
        st.sets(TEXT, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=VALUES)
def test_no_planted_secret_survives(value: Any) -> None:
    rules = Rules(True, BACKEND)
    encoded = rules.encode(value, where="value", at="arguments")
    told = codec.dumps(encoded.data).decode()
    read = repr(codec.decode(encoded.data))
    for secret in SHAPED:
        assert secret not in told
        assert secret.replace("\n", "\\n") not in told
        assert secret not in read
        assert secret.replace("\n", "\\n") not in read
    again = rules.encode(codec.decode(encoded.data), where="value", at="arguments")
    assert codec.canonical(again.data) == codec.canonical(encoded.data)
    assert rules.fingerprint(encoded) == rules.fingerprint(rules.encode(value, where="value", at="arguments"))
