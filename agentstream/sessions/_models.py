"""What a pydantic model holds; apart from the rest so that pydantic is loaded only by those who use it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import AliasChoices, BaseModel, PlainSerializer, RootModel, WrapSerializer
from pydantic.fields import FieldInfo


def of_model(value: BaseModel) -> Any:
    """The plain value that a model is made from."""
    kind = type(value)
    if _has_serializers(kind):  # the class says how it is written: believe it
        return value.model_dump(mode="python", by_alias=not _reads_names(kind), round_trip=True, warnings=False)
    if isinstance(value, RootModel):
        return value.root
    held = value.__dict__
    made = {key: held[name] for name, key in _keys(kind) if name in held}
    return made | (value.__pydantic_extra__ or {})


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
