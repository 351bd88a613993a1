"""What a pydantic model holds; apart from the rest so that pydantic is loaded only by those who use it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, PlainSerializer, RootModel, WrapSerializer
from pydantic.fields import FieldInfo

from agentstream.sessions.secrets import Hidden, hide, marked


def of_model(value: BaseModel) -> Any:
    """The plain value that a model is made from."""
    kind: Any = type(value)
    if _has_serializers(kind):  # the class says how it is written: believe it
        dumped = value.model_dump(mode="python", by_alias=not _reads_names(kind), round_trip=True, warnings=False)
        return hidden_in(dumped, value)
    if isinstance(value, RootModel):
        secrets = _secrets(kind)
        return Hidden(secrets["root"], value.root) if secrets else value.root
    held = value.__dict__
    made = {key: held[name] for name, key in _keys(kind) if name in held}
    return hide(made, _secrets(kind)) | (value.__pydantic_extra__ or {})


def hidden_in(dumped: Any, value: Any) -> Any:
    """What pydantic wrote of `value`, with the marked fields hidden of the models in it, which it made dicts of."""
    if isinstance(value, RootModel):
        kind: Any = type(value)
        secrets = _secrets(kind)
        return Hidden(secrets["root"], dumped) if secrets else hidden_in(dumped, value.root)
    if isinstance(value, BaseModel) and isinstance(dumped, dict):
        keys = dict(_keys(type(value)))
        inner = {keys.get(name, name): part for name, part in value.__dict__.items()}
        made = {key: hidden_in(part, inner[key]) if key in inner else part for key, part in dumped.items()}
        return hide(made, _secrets(type(value)))
    if isinstance(value, dict) and isinstance(dumped, dict) and len(value) == len(dumped):
        parts = zip(dumped.items(), value.values(), strict=True)
        return {key: hidden_in(part, whole) for (key, part), whole in parts}
    if isinstance(value, (list, tuple)) and isinstance(dumped, (list, tuple)) and len(value) == len(dumped):
        return [hidden_in(part, whole) for part, whole in zip(dumped, value, strict=True)]
    return dumped


@lru_cache(maxsize=1024)
def _secrets(kind: Any) -> Mapping[str, str]:
    """The keys of the fields that are marked as secret, with the secrets' names."""
    keys = dict(_keys(kind))
    named = marked({name: _annotation(field) for name, field in kind.model_fields.items()})
    return {keys.get(name, name): secret for name, secret in named.items()}


def _annotation(field: FieldInfo) -> Any:
    """A field's whole annotation: pydantic keeps its marks apart."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


@lru_cache(maxsize=1024)
def _has_serializers(kind: type[BaseModel]) -> bool:
    declared = kind.__pydantic_decorators__
    return bool(declared.field_serializers or declared.model_serializers) or any(
        isinstance(mark, (PlainSerializer, WrapSerializer))
        for field in kind.model_fields.values()
        for mark in field.metadata
    )


@lru_cache(maxsize=1024)
def _keys(kind: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """Each field that is written, with the key under which validation looks for it."""
    by_name = _reads_names(kind)
    return tuple(
        (name, name if by_name else _alias(name, field))
        for name, field in kind.model_fields.items()
        if not field.exclude
    )


def _reads_names(kind: type[BaseModel]) -> bool:
    return bool(kind.model_config.get("populate_by_name") or kind.model_config.get("validate_by_name"))


def _alias(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return next((choice for choice in choices if isinstance(choice, str)), name)
