"""What sessions that SDKs recorded say, whole: also what stands only in what the models were asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agentstream_anthropic import record as record_anthropic
from agentstream_langgraph import StreamSaver
from agentstream_openai import record as record_openai
from anthropic import Anthropic
from conversations_kit import assistant, call, contents, result, user
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from openai import OpenAI
from support.provider import Behaviour, Exchange, Provider, traffic

from agentstream import Client, Messages, Session, adapters, agent
from agentstream.sessions.conversions import requests


def played(client: Client, session: Session, exchanges: list[Exchange]) -> None:
    """Runs an agent that asks what the exchanges ask, with the SDK that they are of."""
    with Provider(exchanges) as provider:

        @agent
        def conversation() -> None:
            for exchange in exchanges:
                if "messages" in exchange.path:
                    with Anthropic(base_url=provider.url.removesuffix("/v1"), api_key="k") as claude:
                        record_anthropic(claude).post(exchange.path, body=exchange.request, cast_to=object)
                else:
                    with OpenAI(base_url=provider.url, api_key="k") as openai:
                        path = exchange.path.removeprefix("/v1")
                        record_openai(openai).post(path, body=exchange.request, cast_to=object)

        session.run(conversation)


def asked(exchange: Exchange) -> Messages:
    request = exchange.request
    if exchange.path.endswith("responses"):
        return Messages.from_openai_responses(request["input"])
    if exchange.path.endswith("completions"):
        return Messages.from_openai_chat(request["messages"])
    return Messages.from_anthropic(request["messages"], request.get("system"))


@pytest.mark.parametrize(
    "name",
    ["openai-chat-tools", "openai-responses-tool-call", "anthropic-thinking-tool", "anthropic-parallel-tools"],
)
def test_the_conversation_is_what_the_model_was_asked_and_answered(name: str) -> None:
    exchanges = traffic(name)
    with Client("memory:") as client:
        session = client.session("s")
        played(client, session, exchanges)
        messages = session.state().messages
        assert {message["role"] for message in messages} == {"assistant"}  # that is all there is as messages
        assert contents(messages.whole[:-1]) == contents(asked(exchanges[-1]))
        assert messages.whole[-1]["role"] == "assistant"


def test_signed_thinking_is_given_back_to_the_byte() -> None:
    exchanges = traffic("anthropic-thinking-tool")
    with Client("memory:") as client:
        session = client.session("s")
        played(client, session, exchanges)
        theirs = json.loads(exchanges[0].body)["content"]
        ours = session.state().messages.as_anthropic()["messages"][1]["content"]
        assert [block for block in ours if block["type"] == "thinking"] == [
            block for block in theirs if block["type"] == "thinking"
        ]


def test_a_conversation_that_the_provider_keeps_is_whole_too() -> None:
    exchanges = [each for each in traffic("openai-responses-conversation-tool") if each.path == "/v1/responses"]
    assert len(asked(exchanges[1])) < 3  # it says only what is new
    with Client("memory:") as client:
        session = client.session("s")
        played(client, session, exchanges)
        roles = [message["role"] for message in session.state().messages.whole]
        assert roles == ["system", "user", "assistant", "tool", "assistant"]


def say(model: str, messages: Any, answer: Any, **body: Any) -> None:
    """A model call as an integration makes one."""
    step = adapters.open_step("model", model, {"body": {"messages": messages, **body}})
    if step.served is None:
        step.emit("message", answer)
        step.finish({"ok": True})


def plain(role: str, text: str) -> Any:
    return {"role": role, "content": text}


def texts(session: Session) -> list[str]:
    return [part["text"] for message in session.state().messages.whole for part in message["parts"]]


def test_the_same_question_in_a_new_run_is_asked_again() -> None:
    with Client("memory:") as client:
        session = client.session("s")

        @agent
        def ask(question: str, answer: str, history: list[Any]) -> None:
            say("m", [*history, plain("user", question)], assistant(answer), system="Be kind.")

        session.run(ask, "Hi", "Hello", [])
        session.run(ask, "Hi", "Hello again", [])
        session.run(ask, "More", "No", [plain("user", "Hi"), plain("assistant", "Hello again")])
        assert texts(session) == ["Be kind.", "Hi", "Hello", "Hi", "Hello again", "More", "No"]


def test_a_message_that_was_appended_is_not_said_twice() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.append("message", user("Where is A1?"))

        @agent
        def support() -> None:
            say("m", [plain("user", "Where is  A1?")], assistant("There."))

        session.run(support)
        session.append("message", {"role": "user", "content": "Thanks"})
        assert texts(session) == ["Where is A1?", "There.", "Thanks"]


def test_a_prompt_that_changes_counts_as_it_was_last() -> None:
    with Client("memory:") as client:
        session = client.session("s")

        @agent
        def support(day: str, question: str) -> None:
            say("m", [plain("system", f"It is {day}."), plain("user", question)], assistant(f"{question}!"))

        session.run(support, "Monday", "a")
        session.run(support, "Tuesday", "b")
        assert texts(session) == ["It is Tuesday.", "a", "a!", "b", "b!"]


def test_what_an_attempt_said_that_failed_is_not_said() -> None:
    exchanges = traffic("openai-chat-stream-tools")
    with (
        Client("memory:") as client,
        Provider(exchanges) as provider,
        OpenAI(base_url=provider.url, api_key="k", max_retries=0) as sdk,
    ):
        record_openai(sdk)
        session = client.session("s")

        @agent
        def go() -> None:
            for _ in sdk.chat.completions.create(**exchanges[0].request):
                pass

        provider.next.append(Behaviour(cut=1200))
        with pytest.raises(Exception):  # noqa: B017, PT011 - whichever the SDK makes of a cut stream
            session.run(go)
        session.run(go)
        state = session.state()
        calls = [part for message in state.messages.whole for part in message["parts"] if part["type"] == "tool_call"]
        assert len({each["id"] for each in calls}) == len(calls)
        assert [message["role"] for message in state.messages.whole][-2:] == ["user", "assistant"]


def test_the_result_of_a_tool_step_closes_its_call() -> None:
    with Client("memory:") as client:
        session = client.session("s")

        @agent
        def support() -> None:
            say("m", [plain("user", "q")], assistant(call("c1"), call("c2"), call("c3")))
            for id in ("c1", "c2"):
                step = adapters.open_step("tool", "look_up", {"id": id, "arguments": {}})
                if id == "c1":
                    step.finish({"found": 1})
                else:
                    step.fail(ValueError("none"))

        session.run(support)
        chat = session.state().messages.as_openai_chat(close=False)
        assert [each.get("content") for each in chat] == ["q", None, '{"found": 1}', "ValueError: none"]


def test_a_call_that_a_framework_renames_is_the_same_call() -> None:
    with Client("memory:") as client:
        session = client.session("s")

        @agent
        def support() -> None:
            say(
                "m", [plain("user", "q")], assistant(call("c1", arguments='{"a": 1}'), call("c2", arguments='{"a": 2}'))
            )
            asked = [{"id": f"x{n}", "type": "function", "function": {"name": "look_up", "arguments": f'{{"a":{n}}}'}}
                     for n in (2, 1)]  # fmt: skip
            told = [{"role": "tool", "tool_call_id": f"x{n}", "content": f"r{n}"} for n in (2, 1)]
            history = [plain("user", "q"), {"role": "assistant", "tool_calls": asked}, *told]
            say("m", history, assistant("done"))
            say("m", [*history, plain("assistant", "done"), plain("user", "more")], assistant("no"))

        session.run(support)
        chat = session.state().messages.as_openai_chat()
        assert [each["content"] for each in chat] == ["q", None, "r1", "r2", "done", "more", "no"]


def test_ids_that_a_server_uses_again_are_of_several_calls() -> None:
    with Client("memory:") as client:
        session = client.session("s")

        @agent
        def support() -> None:
            history: list[Any] = [plain("user", "q")]
            for n in (1, 2):
                given = f'{{"a": {n}}}'
                say("m", history, {"id": f"m{n}", **assistant(call("call_0", arguments=given))})
                function = {"name": "look_up", "arguments": given}
                history.append({"role": "assistant", "tool_calls": [{"id": "call_0", "function": function}]})
                history.append({"role": "tool", "tool_call_id": "call_0", "content": f"r{n}"})
            say("m", history, assistant("done"))

        session.run(support)
        chat = session.state().messages.as_openai_chat()
        assert [each["content"] for each in chat] == ["q", None, "r1", None, "r2", "done"]
        assert len({each["tool_call_id"] for each in chat if each["role"] == "tool"}) == 2


def test_a_framework_above_a_recorded_client_says_nothing_twice() -> None:
    with Client("memory:") as client:
        session = client.session("s")

        @agent
        def support() -> None:
            say("m", [plain("user", "q")], assistant("thinking", call("c1")))
            session.append("message", {"id": "run-1", **assistant("thinking", call("c1", arguments={}))})
            session.append("message", result("c1", "r"))
            asked = [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]
            told = {"role": "tool", "tool_call_id": "c1", "content": "r"}
            history = [plain("user", "q"), {"role": "assistant", "content": "thinking", "tool_calls": asked}, told]
            say("m", history, assistant("done"))
            session.append("message", {"id": "run-2", **assistant("done")})

        session.run(support)
        assert [message["role"] for message in session.state().messages.whole] == [
            "user",
            "assistant",
            "tool",
            "assistant",
        ]


def test_a_graph() -> None:
    def model(state: MessagesState) -> Any:
        last = state["messages"][-1]
        if isinstance(last, HumanMessage):
            return {"messages": [AIMessage("", tool_calls=[{"id": "c1", "name": "f", "args": {"a": 1}}])]}
        return {"messages": [AIMessage("done")]}

    with Client("memory:") as client:
        graph = StateGraph(MessagesState).add_node("model", model).add_edge(START, "model").add_edge("model", END)
        compiled: Any = graph.compile(checkpointer=StreamSaver(client))
        compiled.invoke({"messages": [HumanMessage("hi")]}, {"configurable": {"thread_id": "t"}})
        [summary] = client.sessions()
        messages = client.session(summary.id).state().messages
        assert [each["role"] for each in messages.as_openai_chat()] == ["user", "assistant", "tool"]
        assert messages.as_anthropic()["messages"][1]["content"][0]["input"] == {"a": 1}


def test_each_element_of_a_request_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    original = requests.read_element
    monkeypatch.setattr(requests, "read_element", lambda *given: read.append(given) or original(*given))
    with Client("memory:") as client:
        session = client.session("s")

        @agent
        def chat(turns: int) -> None:
            history: list[Any] = []
            for number in range(turns):
                history.append(plain("user", f"question {number} of several, long enough to be an item of its own"))
                say("m", history, assistant(f"answer {number}"))
                history.append(plain("assistant", f"answer {number}"))

        session.run(chat, 100)
        assert len(session.state().messages.whole) == 200
    assert len(read) <= 205


def test_messages_are_a_list_still() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.append("message", user("hi"))
        messages = session.state().messages
        assert messages == [user("hi")]
        assert isinstance(messages, list)
        assert json.loads(json.dumps(messages)) == messages
        assert session.state().messages[:1] == messages
        session.append("copy", {"messages": messages})


def test_what_another_sdk_wrote_is_recorded() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        chain = [HumanMessage("q"), AIMessage("", tool_calls=[{"id": "c1", "name": "f", "args": {}}])]
        for message in Messages.from_langchain(chain):
            session.append("message", message)
        assert [each["type"] for each in session.state().messages.as_openai_responses()] == [
            "message",
            "function_call",
            "function_call_output",
        ]
