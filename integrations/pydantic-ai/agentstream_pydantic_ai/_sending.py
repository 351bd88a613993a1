"""What a model is sent in place of what the code asks, where a session is run on with another model or prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from pydantic_ai.messages import InstructionPart, ModelMessage, ModelRequest, SystemPromptPart
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers import infer_provider_class
from pydantic_ai.settings import ModelSettings

from agentstream.adapters import StepCall

Request = tuple[list[ModelMessage], ModelSettings | None, ModelRequestParameters]


def places(model: Model) -> tuple[str, ...]:
    """What can be changed of a request to this model: not the name, where it is made of several."""
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return ("instructions", "model") if hasattr(model, "_model_name") else ("instructions",)


def changed(call: StepCall, model: Model, request: Request) -> tuple[Model, Request]:
    """The model and the request as they are to be sent: as they are, or as a person steered them."""
    if call.changed is None:
        return model, request
    sent = call.changed.applied({"model": model.model_name})
    if sent["model"] != model.model_name:
        model = _named(model, sent["model"])
    if "instructions" in sent:
        messages, settings, parameters = request
        parts = [InstructionPart(content=sent["instructions"])]
        told = list(_instructed(messages, sent["instructions"]))
        request = (told, settings, replace(parameters, instruction_parts=parts))
    return model, request


def _named(model: Model, name: str) -> Model:
    """The same model by another name, of the same provider; of another one where the name begins with that."""
    if isinstance(model, WrapperModel):
        other = _copied(model)
        other.wrapped = _named(model.wrapped, name)
        return other
    provider, _, rest = name.partition(":")
    if rest and provider == model.system:
        name = rest
    elif rest and _is_provider(provider):
        return infer_model(name)
    other = _copied(model)
    for held in [held for held in vars(other) if isinstance(getattr(type(other), held, None), cached_property)]:
        del vars(other)[held]  # what it knows of itself by its name
    vars(other)["_model_name"] = name
    return other


def _copied(model: Any) -> Any:
    """A shallow copy. A wrapper hands on what it is asked, also by `copy.copy` before it has what it wraps."""
    other = object.__new__(type(model))
    vars(other).update(vars(model))
    return other


def _is_provider(name: str) -> bool:
    """Whether a name before a colon is a provider's: a model's own may have a colon in it."""
    try:
        infer_provider_class(name)
    except ValueError:
        return False
    return True


def _instructed(messages: list[ModelMessage], text: str) -> Iterator[ModelMessage]:
    """The messages with `text` as all that they say as the system: as instructions of the last request."""
    last = max((at for at, message in enumerate(messages) if isinstance(message, ModelRequest)), default=None)
    for at, message in enumerate(messages):
        if not isinstance(message, ModelRequest):
            yield message
            continue
        parts: list[Any] = [part for part in message.parts if not isinstance(part, SystemPromptPart)]
        if parts or at == last:
            yield replace(message, parts=parts, instructions=text if at == last else None)
