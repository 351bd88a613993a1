"""The agent SDKs with and without a record: what a call costs more, and what a turn leaves on the disk.

A provider on loopback, in a process of its own, answers as real ones do: a call of a tool, then a text of 120 words.
openai and anthropic: one call of a model, bare and recorded. openai-agents and pydantic-ai: turns of a conversation
(a model call, a tool, a model call), bare, with the SDK's own memories in a file, and with ours; the bare one keeps
what was said in a variable. openai-agents once more with items of 1 KB. What `SQLiteSession` and
`AdvancedSQLiteSession` keep is the conversation: neither goes on inside a turn after a crash, nor keeps each call's
request, usage and times.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from harness import Numbers, Row, kb, main, median, ms, on_disk

WORDS = (Path(__file__).resolve().parent.parent / "LICENSE").read_text().split()
QUESTION, RESULT, ANSWER = 40, 20, 120
"""Words of a question, of a tool's result and of an answer, which is three times its question."""

LONG_QUESTION, LONG_RESULT = 110, 150
"""The same where an item is 1 KB."""


def words(count: int, seed: object) -> str:
    return " ".join(random.Random(str(seed)).choices(WORDS, k=count))


# --- the provider -----------------------------------------------------------------------------------------------------


class Provider(BaseHTTPRequestHandler):
    """Chat completions, Responses and Messages: a tool call first where there are tools, then a text."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = asked.get("input") or asked.get("messages")
        answer = {"chat/completions": chat, "responses": responses}.get(self.path.removeprefix("/v1/"), messages)
        calls = bool(asked.get("tools")) and not _has_result(said[-1])
        question = next(each["content"] for each in reversed(said) if each.get("role") == "user")
        size = ANSWER // QUESTION * len(str(question).split())
        body = json.dumps(answer(asked, words(size, len(said)), len(said), calls)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _has_result(last: dict[str, Any]) -> bool:
    return last.get("role") == "tool" or last.get("type") == "function_call_output"


def chat(asked: Any, text: str, place: int, calls: bool) -> Any:
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else text, "refusal": None}
    if calls:
        function = {"name": "look_up", "arguments": json.dumps({"name": f"n{place}"})}
        message["tool_calls"] = [{"id": f"call_{place}", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": ANSWER, "total_tokens": 9 + ANSWER}
    return {"id": f"chatcmpl-{place}", "object": "chat.completion", "created": 1_700_000_000, "model": asked["model"],
            "choices": [choice], "usage": usage}  # fmt: skip


def responses(asked: Any, text: str, place: int, calls: bool) -> Any:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item: dict[str, Any] = {"id": f"msg_{place}", "type": "message", "role": "assistant", "status": "completed"}
    item["content"] = [part]
    if calls:
        item = {"id": f"fc_{place}", "type": "function_call", "call_id": f"call_{place}", "name": "look_up",
                "arguments": json.dumps({"name": f"n{place}"}), "status": "completed"}  # fmt: skip
    details = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
               "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    usage = {"input_tokens": 9, "output_tokens": ANSWER, "total_tokens": 9 + ANSWER, **details}
    return {"id": f"resp_{place}", "object": "response", "created_at": 1_700_000_000, "model": asked["model"],
            "status": "completed", "output": [item], "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto",
            "tools": [], "error": None, "incomplete_details": None, "instructions": None, "metadata": {}}  # fmt: skip


def messages(asked: Any, text: str, place: int, calls: bool) -> Any:
    usage = {"input_tokens": 9, "output_tokens": ANSWER}
    return {"id": f"msg_{place}", "type": "message", "role": "assistant", "model": asked["model"], "usage": usage,
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None}  # fmt: skip


def serve() -> None:
    """The provider's process: says its port, and serves until nobody reads what it says any more."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def provider() -> Iterator[str]:
    with Popen([sys.executable, __file__, "serve"], stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


# --- one call ---------------------------------------------------------------------------------------------------------


def calls(url: str, folder: Path, count: int) -> dict[str, float]:
    """Bare and recorded calls in turns, so that whatever else the machine does is slow for both."""
    import agentstream_anthropic
    import agentstream_openai
    from anthropic import Anthropic
    from openai import OpenAI

    from agentstream import Client, agent, outside_run

    def openai() -> OpenAI:
        return OpenAI(api_key="none", base_url=f"{url}/v1")

    def anthropic() -> Anthropic:
        return Anthropic(api_key="none", base_url=url)

    def ask(client: Any, number: int) -> None:
        asked: Any = [{"role": "user", "content": words(QUESTION, number)}]
        if isinstance(client, OpenAI):
            client.chat.completions.create(model="gpt-4o", messages=asked)
        else:
            client.messages.create(model="claude-opus-4-1", max_tokens=1000, messages=asked)

    found: dict[str, float] = {}
    made: list[tuple[str, Any, Any]] = [
        ("openai", openai(), agentstream_openai.record(openai())),
        ("anthropic", anthropic(), agentstream_anthropic.record(anthropic())),
    ]
    for name, bare, recorded in made:
        took: dict[str, list[float]] = {"bare": [], "ours": []}

        @agent
        def asks(bare: Any = bare, recorded: Any = recorded, took: Any = took) -> None:
            for number in range(count):
                begun = time.perf_counter()
                with outside_run():
                    ask(bare, number)
                between = time.perf_counter()
                ask(recorded, number)
                took["bare"].append(between - begun)
                took["ours"].append(time.perf_counter() - between)

        with Client(folder / name) as client:
            client.session("s").run(asks)
        found |= {f"{name} {which}": median(times) for which, times in took.items()}
    return found


# --- turns ------------------------------------------------------------------------------------------------------------

Turn = Callable[[str], Awaitable[Any]]


async def turns(turn: Turn, count: int, question: int = QUESTION) -> tuple[float, float]:
    """Seconds of a turn: the median of all, and of the last tenth."""
    took: list[float] = []
    for number in range(count):
        begun = time.perf_counter()
        await turn(words(question, number))
        took.append(time.perf_counter() - begun)
    return median(took), median(took[-max(1, count // 10) :])


async def agents(openai: Any, folder: Path, count: int) -> dict[str, float]:
    from agents import Agent, OpenAIResponsesModel, Runner, SQLiteSession, function_tool, set_tracing_disabled
    from agents.extensions.memory import AdvancedSQLiteSession
    from agentstream_openai_agents import AgentStreamSession, run_durable

    from agentstream import AsyncClient

    set_tracing_disabled(True)

    def agent(result: int = RESULT) -> Any:
        @function_tool
        def look_up(name: str) -> str:
            """Says who somebody is."""
            return words(result, name)

        model = OpenAIResponsesModel("gpt-4o", openai)
        return Agent("support", instructions="Be brief.", model=model, tools=[look_up])

    said: list[Any] = []

    plain = agent()

    async def bare(prompt: str) -> None:
        result = await Runner.run(plain, [*said, {"role": "user", "content": prompt}])
        said[:] = result.to_input_list()

    def kept(session: Any) -> Turn:
        to = agent()
        return lambda prompt: Runner.run(to, prompt, session=session)

    found: dict[str, float] = {}
    async with AsyncClient(folder / "ours") as client, AsyncClient(folder / "memory") as memory:
        durable, session = agent(), client.session("chat")
        (folder / "sqlite").mkdir()
        (folder / "advanced").mkdir()
        ways: dict[str, Turn] = {
            "bare": bare,
            "sqlite": kept(SQLiteSession("chat", folder / "sqlite" / "chat.db")),
            "advanced": kept(
                AdvancedSQLiteSession(session_id="chat", db_path=folder / "advanced" / "chat.db", create_tables=True)
            ),
            "memory": kept(AgentStreamSession(memory, "chat")),
            "ours": lambda prompt: run_durable(durable, prompt, session),
        }
        for name, way in ways.items():
            found[f"agents {name}"], found[f"agents {name} last"] = await turns(way, count)
    async with AsyncClient(folder / "long") as client:
        long, session = agent(LONG_RESULT), client.session("chat")
        found["agents long"], found["agents long last"] = await turns(
            lambda prompt: run_durable(long, prompt, session), count, LONG_QUESTION
        )
        found["agents long items"] = size(await AgentStreamSession(session).get_items())
    found |= {f"agents {name} disk": on_disk(folder / name) for name in (*ways, "long") if name != "bare"}
    return {**found, "agents items": size(said)}


def size(items: list[Any]) -> int:
    """Bytes of what was said, as JSON."""
    return sum(len(json.dumps(item, ensure_ascii=False)) for item in items)


async def pydantic(openai: Any, folder: Path, count: int) -> dict[str, float]:
    from agentstream_pydantic_ai import Recorded, run_durable
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from agentstream import AsyncClient

    def agent(*capabilities: Any) -> Any:
        model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=openai))
        made = Agent(model, name="support", capabilities=list(capabilities))

        @made.tool_plain
        def look_up(name: str) -> str:
            """Says who somebody is."""
            return words(RESULT, name)

        return made

    said: list[ModelMessage] = []

    plain = agent()

    async def bare(prompt: str) -> None:
        said[:] = (await plain.run(prompt, message_history=said)).all_messages()

    found: dict[str, float] = {}
    async with AsyncClient(folder / "ours") as client:
        durable, session = agent(Recorded()), client.session("chat")
        ways: dict[str, Turn] = {"bare": bare, "ours": lambda prompt: run_durable(durable, prompt, session)}
        for name, way in ways.items():
            found[f"pydantic {name}"], found[f"pydantic {name} last"] = await turns(way, count)
    found["pydantic items"] = len(ModelMessagesTypeAdapter.dump_json(said))
    return {**found, "pydantic ours disk": on_disk(folder / "ours")}


def measure(folder: Path, quick: bool) -> dict[str, float]:
    count = 10 if quick else 50
    with provider() as url:
        found: dict[str, float] = {"turns": count, **calls(url, folder / "calls", count)}
        return found | asyncio.run(conversations(url, folder, count))


async def conversations(url: str, folder: Path, count: int) -> dict[str, float]:
    from openai import AsyncOpenAI

    found: dict[str, float] = {}
    for name, way in (("agents", agents), ("pydantic", pydantic)):
        place = folder / name
        place.mkdir()
        async with AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as openai:
            found |= await way(openai, place, count)
    return found


def rows(numbers: Numbers) -> list[Row]:
    found: list[Row] = []
    for name in ("openai", "anthropic"):
        ours, bare = numbers[f"{name} ours"], numbers[f"{name} bare"]
        found.append(
            Row(f"{name}: a recorded call, p50", ms(ours), f"bare {ms(bare)}: + {ms(ours - bare)}", ours / bare)
        )
    turns, items = f"{numbers['turns']:.0f} turns", numbers["agents items"]
    bare = numbers["agents bare"]
    for name, what in (
        ("ours", "openai-agents, durable"),
        ("memory", "… our Session alone"),
        ("sqlite", "… its SQLiteSession"),
        ("advanced", "… its AdvancedSQLiteSession"),
    ):
        took, last, disk = (numbers[f"agents {name}{part}"] for part in ("", " last", " disk"))
        found.append(Row(f"{what}: a turn, p50", ms(took), f"bare {ms(bare)}; the last ones {ms(last)}", took / bare))
        found.append(Row(f"… {turns}: disk", kb(disk), f"items {kb(items)}", disk / items))
        if name == "ours":
            disk, new = numbers["agents long disk"], numbers["agents long items"]
            found.append(Row("… with items of 1 KB: disk", kb(disk), f"items {kb(new)}", disk / new, 3))
    took, last, disk = (numbers[f"pydantic ours{part}"] for part in ("", " last", " disk"))
    bare, items = numbers["pydantic bare"], numbers["pydantic items"]
    found.append(
        Row("pydantic-ai, durable: a turn, p50", ms(took), f"bare {ms(bare)}; the last ones {ms(last)}", took / bare)
    )
    found.append(Row(f"… {turns}: disk", kb(disk), f"messages {kb(items)}", disk / items))
    return found


if __name__ == "__main__":
    main(measure, serve=serve)
