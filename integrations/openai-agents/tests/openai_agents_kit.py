"""What the tests of durable agents share: a provider that answers as told, an agent over it, a log of effects."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents import Agent, OpenAIResponsesModel, RunHooks, function_tool
from agents.testing import ScriptedModel
from openai import AsyncOpenAI
from support.provider import Exchange

QUESTION = "Refund order A, if B was not refunded"
ANSWER = "Order A was refunded."


def calls(name: str, id: str, **arguments: Any) -> dict[str, Any]:
    """An output item: a call of a tool."""
    said = {"call_id": id, "name": name, "arguments": json.dumps(arguments)}
    return {"type": "function_call", "id": f"fc_{id}", "status": "completed", **said}


def says(text: str, id: str = "msg_1") -> dict[str, Any]:
    """An output item: a message."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": id, "role": "assistant", "status": "completed", "content": [part]}


def exchange(question: str, results: int, output: list[dict[str, Any]], *, stream: bool) -> Exchange:
    """What the provider answers to this question once it was told so many results."""
    asked = [{"role": "user", "content": question}, *[{"type": "function_call_output"}] * results]
    response: dict[str, Any] = {
        "id": f"resp_{results}",
        "object": "response",
        "created_at": 1780000000,
        "model": "m",
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 20,
            "output_tokens": 5,
            "total_tokens": 25,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }
    body = _events(response) if stream else json.dumps(response)
    kind = "text/event-stream" if stream else "application/json"
    return Exchange("/v1/responses", {"input": asked}, 200, kind, body)


def _events(response: dict[str, Any]) -> str:
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "output": [], "status": "in_progress", "usage": None}}
    ]
    for index, item in enumerate(response["output"]):
        of = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress", **({"content": []} if "content" in item else {"arguments": ""})}
        events.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        if item["type"] == "message":
            of["content_index"] = 0
            part = item["content"][0]
            events.append({"type": "response.content_part.added", **of, "part": {**part, "text": ""}})
            words = part["text"].split(" ")
            deltas = [word if place == 0 else f" {word}" for place, word in enumerate(words)]
            events += [{"type": "response.output_text.delta", **of, "delta": each, "logprobs": []} for each in deltas]
            events.append({"type": "response.output_text.done", **of, "text": part["text"], "logprobs": []})
            events.append({"type": "response.content_part.done", **of, "part": part})
        else:
            delta = {"delta": item["arguments"]}
            events.append({"type": "response.function_call_arguments.delta", **of, **delta})
            done = {"arguments": item["arguments"], "name": item["name"]}
            events.append({"type": "response.function_call_arguments.done", **of, **done})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": response})
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    told = ((event["type"], json.dumps(event, separators=(",", ":"))) for event in numbered)
    return "".join(f"event: {kind}\ndata: {data}\n\n" for kind, data in told)


def conversation(*, stream: bool) -> list[Exchange]:
    """Two looks at once, then a refund, then an answer."""
    looks = [calls("lookup", "call_a", order="A"), calls("lookup", "call_b", order="B")]
    return [
        exchange(QUESTION, 0, looks, stream=stream),
        exchange(QUESTION, 2, [calls("refund", "call_r", order="A", amount=5)], stream=stream),
        exchange(QUESTION, 3, [says(ANSWER)], stream=stream),
    ]


def model(url: str) -> OpenAIResponsesModel:
    return OpenAIResponsesModel("m", AsyncOpenAI(base_url=url, api_key="x", max_retries=0))


class Points(RunHooks[Any]):
    """Counts the places at which a process may be killed: each model answer, inside each tool, each tool result.

    The agent's tools write what they do to `log`, a file that outlives the process.
    """

    def __init__(self, log: Path, last: str | None = None, *, die: Callable[[], Any] = lambda: None) -> None:
        self.passed: list[str] = []
        self._log, self._last, self._die = log, last, die
        self._models = 0
        self.done = {"A": asyncio.Event(), "B": asyncio.Event()}

    def here(self, name: str) -> None:
        self.passed.append(name)
        if name == self._last:
            self._die()

    def effect(self, said: str) -> None:
        file = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{said}\n".encode())
        os.close(file)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        self._models += 1
        self.here(f"model {self._models}")

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: object) -> None:
        order = json.loads(context.tool_arguments)["order"]
        if tool.name == "lookup":
            self.done[order].set()
        self.here(f"after {tool.name} {order}")


def support(url: str, points: Points) -> Agent[Any]:
    """The agent of the conversation. Its look at A waits until the one at B is recorded."""

    @function_tool
    async def lookup(order: str) -> str:
        """Looks an order up."""
        points.effect(f"lookup {order}")
        if order == "A":
            await points.done["B"].wait()
        points.here(f"in lookup {order}")
        points.effect(f"looked up {order}")
        return f"{order}: not refunded"

    @function_tool
    def refund(order: str, amount: int) -> str:
        """Refunds an order."""
        points.effect(f"refund {order}")
        points.here(f"in refund {order}")
        points.effect(f"refunded {order}")
        return f"refunded {amount}"

    return Agent(name="support", instructions="Be kind.", model=model(url), tools=[lookup, refund])


POINTS = [
    "model 1",
    "in lookup B",
    "after lookup B",
    "in lookup A",
    "model 2",
    "in refund A",
    "after refund A",
    "model 3",
]


def scripted(*steps: Any, **more: Any) -> tuple[Agent[Any], ScriptedModel]:
    """An agent whose model says these, and the model, which knows its calls."""
    made = ScriptedModel(list(steps))
    return Agent(name="scripted", model=made, **more), made


def told(event: Any) -> Any:
    """A stream event as something to compare."""
    if event.type == "raw_response_event":
        return event.data.model_dump(mode="json", warnings=False)
    if event.type == "run_item_stream_event":
        raw = event.item.raw_item
        return [event.name, raw if isinstance(raw, (dict, str)) else raw.model_dump(mode="json", warnings=False)]
    return event.type
