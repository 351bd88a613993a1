"""One session, four SDKs: begun by openai, gone on with by anthropic, Pydantic AI and LangChain, with real clients.

The provider is strict: it refuses a request that does not fit the SDK's own types, or whose calls and results do not.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agentstream_anthropic import record as record_anthropic
from agentstream_openai import record as record_openai
from anthropic import Anthropic
from anthropic.types import MessageParam
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from openai import AsyncOpenAI, BadRequestError, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter, ValidationError
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from support.provider import Behaviour, Exchange, Provider

from agentstream import Client, Messages, Session, agent

TYPES: dict[str, tuple[str, Any]] = {
    "/v1/chat/completions": ("messages", TypeAdapter(list[ChatCompletionMessageParam])),
    "/v1/responses": ("input", TypeAdapter(list[ResponseInputItemParam])),
    "/v1/messages": ("messages", TypeAdapter(list[MessageParam])),
}


class Strict(Provider):
    """Answers what is valid with what it was told to say next."""

    def __init__(self) -> None:
        super().__init__()
        self.says: list[Any] = []

    def __enter__(self) -> Strict:
        return self

    def take(self, path: str, headers: dict[str, str], request: Any) -> tuple[Behaviour, Exchange]:
        self.asked.append((path, request))
        objection = _objection(path, request)
        body = {"error": {"message": objection}} if objection else self.says.pop(0)
        return Behaviour(), Exchange(path, request, 400 if objection else 200, "application/json", json.dumps(body))


def _objection(path: str, request: Any) -> str | None:
    name, adapter = TYPES[path]
    try:
        adapter.validate_python(request[name])
    except ValidationError as error:
        return str(error)
    waiting: set[str] = set()
    for message in request[name]:
        calls, results = _calls(message), _results(message)
        if not results <= waiting or (waiting and not results and not calls):
            return f"results {results} for calls {waiting}"
        waiting = (waiting - results) | calls
    return f"open: {waiting}" if waiting else None


def _calls(message: Any) -> set[str]:
    if message.get("type") == "function_call":
        return {message["call_id"]}
    blocks = message["content"] if isinstance(message.get("content"), list) else []
    used = {block["id"] for block in blocks if block.get("type") == "tool_use"}
    return used | {call["id"] for call in message.get("tool_calls") or ()}


def _results(message: Any) -> set[str]:
    if message.get("type") == "function_call_output":
        return {message["call_id"]}
    blocks = message["content"] if isinstance(message.get("content"), list) else []
    given = {block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"}
    return given | ({message["tool_call_id"]} if message.get("role") == "tool" else set())


def chat_answer(**message: Any) -> Any:
    said = {"role": "assistant", "content": None, **message}
    choice = {"index": 0, "finish_reason": "stop", "message": said}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [choice]}


def claude_answer(*blocks: Any) -> Any:
    usage = {"input_tokens": 1, "output_tokens": 1}
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": list(blocks)}
    return {**told, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}


def response_answer(text: str) -> Any:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "msg_2", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    told = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt", "status": "completed"}
    return {**told, "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}


def begun_by_openai(session: Session, provider: Strict) -> None:
    @agent
    def first(question: str) -> None:
        messages: Any = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": question}]
        with OpenAI(base_url=provider.url, api_key="k") as openai:
            record_openai(openai).chat.completions.create(model="gpt", messages=messages)

    function = {"name": "look_up", "arguments": '{"order": "A1"}'}
    other = {"name": "look_up", "arguments": '{"order": "A2"}'}
    calls = [{"id": f"call_{n}", "type": "function", "function": one} for n, one in enumerate((function, other))]
    provider.says.append(chat_answer(tool_calls=calls))
    session.run(first, "Where is order A1?")
    done = {"type": "tool_result", "id": "call_0", "content": "on its way"}
    session.append("message", {"role": "tool", "parts": [done]})  # the other call was interrupted


def gone_on_with_by_anthropic(session: Session, provider: Strict) -> None:
    @agent
    def second(question: str) -> None:
        known = session.state().messages
        said = Messages([*known.whole, {"role": "user", "content": question}]).as_anthropic()
        with Anthropic(base_url=provider.url.removesuffix("/v1"), api_key="k") as anthropic:
            record_anthropic(anthropic).messages.create(model="claude", max_tokens=99, **said)

    thought = {"type": "thinking", "thinking": "It is near.", "signature": "c2lnbmVk"}
    provider.says.append(claude_answer(thought, {"type": "text", "text": "On its way."}))
    session.run(second, "And?")


def gone_on_with_by_pydantic_ai(session: Session, provider: Strict) -> None:
    later = session.to_async()

    @agent
    async def third(question: str) -> str:
        async with AsyncOpenAI(base_url=provider.url, api_key="k") as openai:
            model = OpenAIResponsesModel("gpt", provider=OpenAIProvider(openai_client=record_openai(openai)))
            history = (await later.state()).messages.as_pydantic_ai()
            return (await Agent(model).run(question, message_history=history)).output

    provider.says.append(response_answer("Tomorrow."))
    assert asyncio.run(later.run(third, "When?")) == "Tomorrow."


class Seen(FakeMessagesListChatModel):
    """LangChain's own offline model, which remembers what it was asked."""

    asked: list[list[BaseMessage]] = []  # noqa: RUF012

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.asked.append(messages)
        return super()._generate(messages, *args, **kwargs)


def test_a_session_goes_from_sdk_to_sdk() -> None:
    with Client("memory:") as client, Strict() as provider:
        session = client.session("s")
        begun_by_openai(session, provider)
        gone_on_with_by_anthropic(session, provider)
        gone_on_with_by_pydantic_ai(session, provider)
        model = Seen(responses=[AIMessage("You are welcome.")])
        answer = model.invoke([*session.state().messages.as_langchain(), ("user", "Thanks")])
        for message in Messages.from_langchain([*model.asked[0][-1:], answer]):
            session.append("message", message)

        messages = session.state().messages
        said = [(each["role"], each.get("content")) for each in messages.as_openai_chat() if each.get("content")]
        assert said == [
            ("system", "Be kind."),
            ("user", "Where is order A1?"),
            ("tool", "on its way"),
            ("tool", "The call was interrupted before it gave a result. It may or may not have taken effect."),
            ("user", "And?"),
            ("assistant", "On its way."),
            ("user", "When?"),
            ("assistant", "Tomorrow."),
            ("user", "Thanks"),
            ("assistant", "You are welcome."),
        ]
        kinds = [block["type"] for each in messages.as_anthropic()["messages"] for block in each["content"]]
        assert kinds.count("tool_use") == kinds.count("tool_result") == 2
        assert kinds.count("thinking") == 1
        assert [each.type for each in messages.as_langchain()].count("tool") == 2
        # thinking that Anthropic signed went to nobody else
        [_, _, (path, responses)] = provider.asked
        assert path == "/v1/responses"
        assert "c2lnbmVk" not in json.dumps(responses)
        # and what each provider is given of the whole, it takes
        for path, made in (
            ("/v1/chat/completions", {"messages": messages.as_openai_chat()}),
            ("/v1/responses", {"input": messages.as_openai_responses()}),
            ("/v1/messages", messages.as_anthropic()),
        ):
            assert _objection(path, made) is None


def test_the_provider_is_strict() -> None:
    with Strict() as provider, OpenAI(base_url=provider.url, api_key="k", max_retries=0) as openai:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        open_call: Any = [{"role": "assistant", "tool_calls": [call]}]
        with pytest.raises(BadRequestError, match="open"):
            openai.chat.completions.create(model="gpt", messages=open_call)
        wrong: Any = [{"role": "tool", "content": "r", "tool_call_id": "gone"}]
        with pytest.raises(BadRequestError, match="results"):
            openai.chat.completions.create(model="gpt", messages=wrong)
