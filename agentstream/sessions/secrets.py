"""What marks a value as secret, and what stands in its place: `Secret` and `Redacted`.

`Hidden` is between the two: the codec puts it where a field is marked, and the rules
(`redaction.py`) make of it what is recorded.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

TAG = "$redacted"
MARK = b'"$redacted"'
"""Stands in every form with something taken out whole."""


class Secret:
    """Marks a field, a parameter or a return value that is never recorded: `Annotated[str, Secret()]`.

    For fields of pydantic models, dataclasses and msgspec structs, and for agents and steps.
    `name` is what the record says in its place; pydantic's SecretStr and SecretBytes are secret without it.
    """

    __slots__ = ("name",)

    def __init__(self, name: str = "secret") -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"a secret's name is a text that is not empty, not {name!r}")
        self.name = name

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """What is read from a record where a secret was is taken as it is, whatever type the field has."""
        from pydantic_core import core_schema

        return core_schema.no_info_wrap_validator_function(_as_it_is, handler(source))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Redacted(str):
    """What code gets in the place of a value that was not recorded: the text `[redacted: <rule>]`."""

    __slots__ = ("rule",)
    rule: str

    def __new__(cls, rule: str = "secret") -> Redacted:
        made = super().__new__(cls, shown(rule))
        made.rule = rule
        return made

    def __repr__(self) -> str:
        return f"Redacted({self.rule!r})"

    def __reduce__(self) -> tuple[type[Redacted], tuple[str]]:
        return (Redacted, (self.rule,))


def _as_it_is(value: Any, otherwise: Any) -> Any:
    return value if isinstance(value, Redacted) else otherwise(value)


def shown(rule: str) -> str:
    """What stands in a text in the place of the part that was taken out."""
    return f"[redacted: {rule}]"


def marker(rule: str) -> dict[str, str]:
    """What is recorded in the place of a whole value."""
    return {TAG: rule}


class Hidden:
    """A value that is taken out of a form: its name, itself (in a form: its form), what is stored, and what of it is
    compared without a key. It is never written; `replaced` makes of a form that holds some one that can be."""

    __slots__ = ("form", "name", "shape", "stored")

    def __init__(self, name: str, form: Any, stored: Any = None, shape: Any = None) -> None:
        self.name = name
        self.form = form
        self.stored = marker(name) if stored is None else stored
        self.shape = marker("") if shape is None else shape  # without the name: a rule may be called otherwise

    def __repr__(self) -> str:
        return f"Hidden({self.name!r})"


def replaced(form: Any, part: str) -> Any:
    """A form with what is hidden in it replaced by its `stored`, its `shape` or its own `form`."""
    kind = type(form)
    if kind is Hidden:
        return replaced(form.form, part) if part == "form" else getattr(form, part)
    if kind is dict:
        return {key: replaced(item, part) for key, item in form.items()}
    if kind is list:
        return [replaced(item, part) for item in form]
    return form


def in_text(form: Any) -> Any:
    """A form whose marks are the texts that they are for code: what goes through JSON of another's comes back so."""
    kind = type(form)
    if kind is dict:
        if len(form) == 1 and type(form.get(TAG)) is str:
            return shown(form[TAG])
        return {key: in_text(item) for key, item in form.items()}
    return [in_text(item) for item in form] if kind is list else form


def secret_value(value: Any) -> Hidden | None:
    """A pydantic SecretStr, SecretBytes or Secret[…] as what it holds, without loading pydantic to ask."""
    pydantic = sys.modules.get("pydantic.types")
    if pydantic is None or not isinstance(value, (pydantic.SecretStr, pydantic.SecretBytes, pydantic.Secret)):
        return None
    return Hidden(type(value).__name__, value.get_secret_value())


def secret_of(annotation: Any) -> str | None:
    """The name of the secret that an annotation marks, also as one of several it may be; None where it marks none."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        return next((mark.name for mark in marks if isinstance(mark, Secret)), None) or secret_of(inner)
    if get_origin(annotation) in (Union, types.UnionType):
        return next((name for each in get_args(annotation) if (name := secret_of(each)) is not None), None)
    if isinstance(annotation, str) and "Secret(" in annotation:
        return "secret"  # it cannot be resolved, and says enough
    return None


@lru_cache(maxsize=1024)
def secret_fields(kind: type) -> Mapping[str, str]:
    """The fields of a dataclass or struct that are marked, with their secrets' names."""
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception:  # one name that cannot be found: what is written there is looked at as it is
        hints = {}
        for base in reversed(kind.__mro__):
            hints |= inspect.get_annotations(base)
    return marked(hints)


def marked(hints: Mapping[str, Any]) -> dict[str, str]:
    """Of annotations by name, those that mark a secret, with its name."""
    named = {name: secret_of(hint) for name, hint in hints.items()}
    return {name: secret for name, secret in named.items() if secret is not None}


def secret_parameters(function: Any) -> Mapping[str, str]:
    """The parameters of a function that are marked, with their secrets' names."""
    secrets = dict(_function_secrets(function))
    secrets.pop("return", None)
    return secrets


def hidden_result(value: Any, function: Any) -> Any:
    """What a function returned, hidden if its annotation marks that."""
    secret = _function_secrets(function).get("return")
    return Hidden(secret, value) if secret is not None and value is not None else value


def _function_secrets(function: Any) -> Mapping[str, str]:
    try:
        return _secrets_of_function(function)
    except TypeError:  # a callable that cannot be hashed
        return _secrets_of_function.__wrapped__(function)


@lru_cache(maxsize=1024)
def _secrets_of_function(function: Any) -> Mapping[str, str]:
    from agentstream.sessions.rebuild import hints

    return marked(hints(function))


def hide(values: dict[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """`values` with those named in `secrets` hidden; what is None, and so says nothing, stays."""
    if not secrets:
        return values
    return {
        name: Hidden(secrets[name], value) if name in secrets and value is not None else value
        for name, value in values.items()
    }
