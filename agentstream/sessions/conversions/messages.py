"""`Messages`: what a session said, as the SDK that goes on with it takes it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentstream.sessions.state import State


class Messages(list[dict[str, Any]]):
    """A session's messages in order, and the same conversation in the form of other SDKs.

    As a list it is the `message` events alone. The conversions also take in what users and tools said in what models
    were asked (`whole`). Each gives back a conversation that its provider accepts: results stand behind their calls, a
    call that has none is closed by one that says it was interrupted (`close=False` leaves calls at the end open, for a
    framework that makes them), reasoning goes to the provider alone that signed or encrypted it, and system messages,
    roles and files are as the SDK wants them. Attachments are read when they are converted. Raises BlobLost where one
    is gone.

    `Messages.from_…` read what other SDKs write: `session.append("message", each)` records it.
    """

    _state: State | None = None

    @classmethod
    def of(cls, state: State, messages: Iterable[dict[str, Any]]) -> Messages:
        """The messages of a state."""
        made = cls(messages)
        made._state = state
        return made

    @cached_property
    def whole(self) -> list[dict[str, Any]]:
        """Everything that was said: the messages, and what stands only in what models were asked, as messages are."""
        if self._state is None:
            return list(self)
        from agentstream.sessions.conversions.conversation import conversation

        return conversation(self._state)

    def as_openai_chat(self, *, close: bool = True) -> list[Any]:
        """`messages=` of OpenAI's Chat Completions: `client.chat.completions.create(messages=…)`."""
        from agentstream.sessions.conversions import openai_chat

        return openai_chat.write(self.whole, close=close)

    def as_openai_responses(self, *, close: bool = True) -> list[Any]:
        """`input=` of OpenAI's Responses: `client.responses.create(input=…)`; also the OpenAI Agents SDK's input."""
        from agentstream.sessions.conversions import openai_responses

        return openai_responses.write(self.whole, close=close)

    def as_anthropic(self, *, close: bool = True) -> dict[str, Any]:
        """`messages=` and, where there is one, `system=` of Anthropic's Messages: `client.messages.create(**…)`."""
        from agentstream.sessions.conversions import anthropic

        return anthropic.write(self.whole, close=close)

    def as_langchain(self, *, close: bool = True) -> list[Any]:
        """LangChain's messages. Raises AgentStreamError where langchain-core is not installed."""
        from agentstream.sessions.conversions import langchain

        return langchain.write(self.whole, close=close)

    def as_pydantic_ai(self, *, close: bool = True) -> list[Any]:
        """`message_history=` of Pydantic AI. Raises AgentStreamError where pydantic-ai is not installed."""
        from agentstream.sessions.conversions import pydantic_ai

        return pydantic_ai.write(self.whole, close=close)

    @classmethod
    def from_openai_chat(cls, messages: Iterable[Any]) -> Messages:
        """Messages of Chat Completions, also as objects of the SDK."""
        from agentstream.sessions.conversions import openai_chat

        return cls(openai_chat.read(map(_plain, messages)))

    @classmethod
    def from_openai_responses(cls, items: Iterable[Any] | str) -> Messages:
        """Input or output items of the Responses API, also as objects of the SDK."""
        from agentstream.sessions.conversions import openai_responses

        return cls(openai_responses.read(items if isinstance(items, str) else map(_plain, items)))

    @classmethod
    def from_anthropic(cls, messages: Iterable[Any], system: Any = None) -> Messages:
        """Messages of Anthropic's API, also as objects of the SDK, and the system prompt."""
        from agentstream.sessions.conversions import anthropic

        return cls(anthropic.read(map(_plain, messages), _plain(system)))

    @classmethod
    def from_langchain(cls, messages: Iterable[Any]) -> Messages:
        """LangChain's messages, also as `messages_to_dict` writes them."""
        from agentstream.sessions.conversions import langchain

        return cls(langchain.read(messages))

    @classmethod
    def from_pydantic_ai(cls, messages: Iterable[Any]) -> Messages:
        """Pydantic AI's messages (`result.all_messages()`), also as their TypeAdapter writes them."""
        from agentstream.sessions.conversions import pydantic_ai

        return cls(pydantic_ai.read(messages))


def _plain(value: Any) -> Any:
    """Objects of an SDK, and what is in them, as JSON."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
