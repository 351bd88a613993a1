"""A conversation of 100 turns through the real OpenAI client: bytes on disk, beside what was said in it.

Each request repeats the whole conversation so far. `new items` are the JSON of the messages
alone, each once; a streamed turn adds its raw events. The provider is a function: no server.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from agentstream_openai import record
from harness import Numbers, Row, encoded, kb, main, on_disk
from openai import OpenAI

from agentstream import Client, agent

WORDS = (Path(__file__).resolve().parent.parent / "LICENSE").read_text().split()
ASKED, ANSWERED = 40, 120
"""Words of a question and of an answer."""


def words(count: int, seed: object) -> str:
    return " ".join(random.Random(str(seed)).choices(WORDS, k=count))


class Provider:
    """Answers chat completions; counts the bytes of what it streams and of the answers themselves."""

    def __init__(self) -> None:
        self.streamed = 0
        self.answers = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        asked = json.loads(request.content)
        answer = words(ANSWERED, len(asked["messages"]))
        self.answers += encoded({"role": "assistant", "content": answer})
        about = {"id": f"chatcmpl-{len(asked['messages']):06d}", "created": 1_700_000_000, "model": asked["model"]}
        if asked.get("stream"):
            headers = {"content-type": "text/event-stream; charset=utf-8"}
            return httpx2.Response(200, headers=headers, content=self._events(about, answer))
        message = {"role": "assistant", "content": answer, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": ANSWERED, "total_tokens": 9 + ANSWERED}
        return httpx2.Response(200, json={**about, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _events(self, about: dict[str, Any], answer: str) -> Iterator[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": token} for token in answer.replace(" ", "\0 ").split("\0")]
        for number, delta in enumerate([*deltas, {}]):
            reason = "stop" if number == len(deltas) else None
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            event = {**about, "object": "chat.completion.chunk", "service_tier": "default", "choices": [choice]}
            yield self._sent(f"data: {json.dumps(event, separators=(',', ':'))}\n\n")
        yield self._sent("data: [DONE]\n\n")

    def _sent(self, event: str) -> bytes:
        self.streamed += len(event.encode())
        return event.encode()


def talk(folder: Path, turns: int, *, streamed: bool) -> dict[str, float]:
    provider = Provider()
    http = httpx2.Client(transport=httpx2.MockTransport(provider))
    openai = record(OpenAI(api_key="none", base_url="http://provider.invalid/v1", http_client=http))

    @agent
    def chat() -> int:
        messages: list[Any] = []
        for turn in range(turns):
            messages.append({"role": "user", "content": words(ASKED, f"asked {turn}")})
            if streamed:
                events = openai.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
                answer = "".join(event.choices[0].delta.content or "" for event in events)
            else:
                whole = openai.chat.completions.create(model="gpt-4o", messages=messages)
                answer = whole.choices[0].message.content or ""
            messages.append({"role": "assistant", "content": answer})
        return len(messages)

    with Client(folder) as client:
        client.session("chat").run(chat)
    questions = sum(encoded({"role": "user", "content": words(ASKED, f"asked {turn}")}) for turn in range(turns))
    return {"items": questions + provider.answers, "sse": provider.streamed, "disk": on_disk(folder)}


def measure(folder: Path, quick: bool) -> dict[str, float]:
    turns = 20 if quick else 100
    found: dict[str, float] = {"turns": turns}
    for name, streamed in (("whole", False), ("streamed", True)):
        found |= {f"{name} {key}": value for key, value in talk(folder / name, turns, streamed=streamed).items()}
    return found


def rows(numbers: Numbers) -> list[Row]:
    turns = f"conversation of {numbers['turns']:.0f} turns"
    items, disk = numbers["whole items"], numbers["whole disk"]
    found = [Row(f"{turns}: disk", kb(disk), f"new items {kb(items)}", disk / items, 3)]
    items, disk, sse = (numbers[f"streamed {key}"] for key in ("items", "disk", "sse"))
    allowed = 3 * items + 0.4 * sse
    beside = f"3 × new items {kb(items)} + 0.4 × events {kb(sse)} = {kb(allowed)}"
    return [*found, Row(f"{turns}, streamed: disk", kb(disk), beside, disk / allowed, 1)]


if __name__ == "__main__":
    main(measure)
