"""What a long conversation costs on disk: in proportion to what is new in it, not to what is sent again and again."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from pathlib import Path
from typing import Any

from openai import OpenAI, Stream
from openai.types.responses import Response, ResponseStreamEvent
from openai_kit import sync_client
from support.provider import Behaviour, Exchange, Provider, traffic

from agentstream import Client, agent, step

TURNS = 100
WORDS = ["order", "refund", "customer", "river", "number", "found", "status", "city", "green"]
TOOL: Any = {"type": "function", "name": "lookup", "parameters": {"type": "object"}, "strict": False}
DELTAS = {"message": "response.output_text.delta", "function_call": "response.function_call_arguments.delta"}


class Talk:
    """A made-up conversation of `TURNS` model calls, half of them tool calls, in the shapes of a real one."""

    def __init__(self, *, streamed: bool) -> None:
        self.random = random.Random(1)
        real = json.loads(traffic("openai-responses-stream-phases")[1].body.strip().rpartition("\ndata: ")[2])
        self.shell = {**real["response"], "tools": [TOOL]}
        self.streamed = streamed
        self.answers = [self.answer(calls_tool=number % 2 == 0) for number in range(TURNS)]

    def id(self, kind: str) -> str:
        return f"{kind}_{self.random.getrandbits(192):048x}"

    def words(self) -> str:
        """Some sixty bytes that do not compress to nothing: words and numbers."""
        drawn = self.random.choices(WORDS, k=30)
        return " ".join(f"{word}{self.random.randrange(999)}" if len(word) % 2 else word for word in drawn)

    def answer(self, *, calls_tool: bool) -> Exchange:
        text = json.dumps({"q": self.words()}) if calls_tool else self.words()
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        item: dict[str, Any] = {"id": self.id("msg"), "type": "message", "role": "assistant", "content": [part]}
        if calls_tool:
            item = {"id": self.id("fc"), "type": "function_call", "name": "lookup", "arguments": text}
            item["call_id"] = self.id("call")[:29]
        item["status"] = "completed"
        response = {**self.shell, "id": self.id("resp"), "output": [item]}
        if self.streamed:
            return Exchange("/v1/responses", None, 200, "text/event-stream", self.stream(response, item, text))
        return Exchange("/v1/responses", None, 200, "application/json", json.dumps(response, indent=2))

    def stream(self, response: Any, item: Any, text: str) -> str:
        begun: Any = {"response": {**response, "output": [], "status": "in_progress"}}
        events: list[Any] = [{"type": "response.created", **begun}, {"type": "response.in_progress", **begun}]
        events.append({"type": "response.output_item.added", "item": {**item, "content": [], "arguments": ""}})
        for token in re.findall(r"\s?\S{1,5}", text):
            hidden = f"{self.random.getrandbits(64):x}"[: self.random.randint(4, 16)]
            delta = {"content_index": 0, "delta": token, "item_id": item["id"], "logprobs": [], "obfuscation": hidden}
            events.append({"type": DELTAS[item["type"]], **delta, "output_index": 0, "sequence_number": len(events)})
        events.append({"type": "response.output_item.done", "item": item, "output_index": 0})
        events.append({"type": "response.completed", "response": response})
        return "".join(
            f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n" for event in events
        )


class InOrder(Provider):
    """Answers the n-th request with the n-th exchange."""

    def take(self, path: str, headers: dict[str, str], request: Any) -> tuple[Behaviour, Exchange]:
        self.billed.append(path)
        return Behaviour(), self.exchanges[len(self.billed) - 1]


def ask(openai: OpenAI, request: Any) -> Any:
    """What `responses.create` does, without its walk over the types of all that was said before."""
    if not request["stream"]:
        return openai.post("/responses", body=request, cast_to=Response)
    events = Stream[ResponseStreamEvent]
    *_, last = openai.post("/responses", body=request, cast_to=Response, stream=True, stream_cls=events)
    return last.response  # type: ignore[union-attr]


def disk_and_items(talk: Talk, folder: Path) -> tuple[int, int]:
    """Bytes on disk after the conversation, and bytes of the items that it consists of."""
    conversation: list[Any] = [{"role": "user", "content": talk.words()}]
    with InOrder(talk.answers) as provider, Client(folder) as client, sync_client(provider) as openai:

        @step(kind="tool")
        def lookup(q: str) -> str:
            return f"{q}: {talk.words()}"

        @agent
        def talks() -> None:
            for _ in range(TURNS):
                request: Any = {"model": "m", "input": conversation, "tools": [TOOL], "stream": talk.streamed}
                [item] = ask(openai, request).output
                conversation.append(item.to_dict())
                if item.type == "function_call":
                    output = lookup(**json.loads(item.arguments))
                    conversation.append({"type": "function_call_output", "call_id": item.call_id, "output": output})
                else:
                    conversation.append({"role": "user", "content": talk.words()})

        client.session("s").run(talks)
    [database] = folder.rglob("*.db")
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()), len(json.dumps(conversation))


def test_a_hundred_streamed_turns_cost_little_more_than_what_is_new_in_them(
    tmp_path: Path,
) -> None:
    talk = Talk(streamed=True)
    disk, items = disk_and_items(talk, tmp_path)
    assert disk <= 3 * items + 0.4 * sum(len(answer.body.encode()) for answer in talk.answers)


def test_a_hundred_whole_answers_cost_in_proportion_to_their_items(tmp_path: Path) -> None:
    """Items of 400 bytes, as here, are outweighed by the events around them: six a turn, 150 bytes each when empty."""
    disk, items = disk_and_items(Talk(streamed=False), tmp_path)
    assert disk <= 4.4 * items, disk / items
