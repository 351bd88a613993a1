"""A model whose calls are steps."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestContext, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from agentstream.adapters import StepCall, aopen_step, muted, recording
from agentstream.adapters.making import amade
from agentstream_pydantic_ai._asked import asked
from agentstream_pydantic_ai._messages import response_of, told_response
from agentstream_pydantic_ai._sending import changed, places
from agentstream_pydantic_ai._streaming import Tape, played
from agentstream_pydantic_ai._telling import said, usage_of

_COUNTED = ("input_tokens", "cache_read_tokens", "cache_write_tokens")


class RecordedModel(WrapperModel):
    """Makes each request to the model it wraps a step; outside a run, and inside another step, it only hands on."""

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The model's answer, from the record if it is there."""
        given = (messages, model_settings, model_request_parameters)
        if not recording():
            return await super().request(*given)
        call = await self._open(asked(*given), changeable=places(self.wrapped))

        async def make() -> ModelResponse:
            model, request = changed(call, self.wrapped, given)
            return await model.request(*request)

        return await _answer(call, make)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """The model's answer as it comes; from the record in the same pieces."""
        given = (messages, model_settings, model_request_parameters)
        if not recording():
            async with super().request_stream(*given, run_context) as stream:
                yield stream
            return
        call = await self._open(asked(*given), changeable=places(self.wrapped))
        if call.served is not None:
            yield await played(call, model_request_parameters)
            return
        with call.underway():
            try:
                with muted():
                    model, request = changed(call, self.wrapped, given)
                    source = model.request_stream(*request, run_context)
                    stream = await source.__aenter__()
            except Exception as error:
                await call.afail(error)
                raise
        tape = Tape(call, stream)
        try:
            yield await tape.recorded(model_request_parameters)
        except BaseException as error:
            await tape.left(error)
            with muted():
                swallowed = await source.__aexit__(*sys.exc_info())
            if not swallowed:
                raise
        else:
            await tape.left(None)
            with muted():
                await source.__aexit__(None, None, None)

    async def count_tokens(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> RequestUsage:
        """What the provider counts, from the record if it is there."""
        given = (messages, model_settings, model_request_parameters)
        if not recording():
            return await super().count_tokens(*given)
        return await amade(
            await aopen_step("http", f"count_tokens {self.model_name}", asked(*given)),
            lambda: super(RecordedModel, self).count_tokens(*given),
            kept=lambda counted: {name: getattr(counted, name) for name in _COUNTED},
            whole=lambda counted: RequestUsage(**counted),
        )

    async def compact_messages(
        self, request_context: ModelRequestContext, *, instructions: str | None = None
    ) -> ModelResponse:
        """The provider's summary of a conversation, from the record if it is there."""
        if not recording():
            return await super().compact_messages(request_context, instructions=instructions)
        context = request_context
        request = asked(context.messages, context.model_settings, context.model_request_parameters)
        call = await self._open({**request, "compact": instructions or True})
        return await _answer(
            call, lambda: super(RecordedModel, self).compact_messages(context, instructions=instructions)
        )

    async def _open(self, request: dict[str, Any], *, changeable: tuple[str, ...] | bool = False) -> StepCall:
        return await aopen_step("model", self.model_name, request, changeable=changeable)


async def _answer(call: StepCall, make: Callable[[], Awaitable[ModelResponse]]) -> ModelResponse:
    return await amade(
        call,
        make,
        kept=lambda response: {"response": told_response(response)},
        whole=lambda kept: response_of(kept["response"]),
        usage=usage_of,
        told=lambda response: said(response, response.provider_response_id or call.key, call.name),
    )
