"""The whole story in one command: an agent that is killed, comes back, branches, and is replayed.

The agent is an ordinary loop around the real openai SDK. The provider is a stand-in on this machine that serves real,
recorded exchanges and counts what it would bill, so no key and no network is needed. Every claim that is printed is
checked; the exit code is 0 only if all of them held.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentstream_openai import record
from openai import OpenAI
from support.provider import Behaviour, Provider, traffic

from agentstream import Client, Session, agent, step

if TYPE_CHECKING:
    from collections.abc import Iterator

    Process = subprocess.Popen[str]

# --- the agent: nothing in it knows about streams, crashes or branches ------------------------------------------------

prompt = "Briefly narrate what you are about to do before calling each tool."
QUESTIONS = ["What is the capital of France?", "What is the capital of PotatoLand?"]
LAST_WORD = " lookup"  # the model says this, in its third answer, and then the worker is killed
CAPITALS = {"France": "Paris", "PotatoLand": "Potato City"}
TOOL: Any = {
    "type": "function",
    "name": "get_capital",
    "description": None,
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"country": {"type": "string"}},
        "required": ["country"],
        "additionalProperties": False,
    },
}

openai = record(OpenAI(api_key="none", base_url=os.environ.get("PROVIDER_URL", "http://127.0.0.1:1/v1")))


@step(kind="tool")
def get_capital(country: str) -> str:
    return CAPITALS[country]


@agent
def geographer(questions: list[str]) -> list[str]:
    return [answer(question) for question in questions]


def answer(question: str) -> str:
    conversation: list[Any] = [{"role": "user", "content": question}]
    while True:
        request: Any = {"model": "gpt-5.5", "instructions": prompt, "input": conversation, "tools": [TOOL]}
        response: Any = None
        for event in openai.responses.create(**request, stream=True):  # the tokens come by here
            if event.type == "response.completed":
                response = event.response
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            return response.output_text
        conversation += response.output
        for call in calls:
            capital = get_capital(**json.loads(call.arguments))
            conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": capital})


# --- the two other processes ------------------------------------------------------------------------------------------


def work(store: str) -> None:
    """The worker process: runs the agent, until it is killed."""
    with Client(store) as client:
        client.session("capitals").with_options(run_id="quiz").run(geographer, QUESTIONS)


def watch(store: str) -> None:
    """The follower process: prints one line of JSON for each event, as it comes, until the run has finished."""
    with Client(store) as client:
        for event in client.session("capitals").follow():
            print(json.dumps([event.index, event.type, {**event.value, "claim": event.claim}]), flush=True)
            if event.type == "status" and event.value.get("status") == "finished":
                return


# --- the story --------------------------------------------------------------------------------------------------------


def main() -> None:
    say(
        "An agent is killed, comes back, branches and is replayed. Its model provider is a stand-in.",
        BOLD,
    )
    with tempfile.TemporaryDirectory() as store, a_provider() as provider, Client(store) as client:
        session = client.session("capitals").with_options(run_id="quiz")
        session.append("message", {"role": "user", "parts": [{"type": "text", "text": " ".join(QUESTIONS)}]})
        with process("watch", store, provider) as follower:
            seen = is_killed_in_mid_sentence(store, provider, follower)
            comes_back(session, provider)
            was_seen_live(seen + list(lines(follower)), session)
        branches(session, provider)
        provider.close()
        is_replayed(session)
    say("\nAll of this was checked, not only printed.", BOLD)


def is_killed_in_mid_sentence(store: str, provider: Provider, follower: Process) -> list[Any]:
    title("1. An agent runs in a process of its own; another process follows it live")
    provider.next += [Behaviour(), Behaviour(), Behaviour(stall=provider.exchanges[2].place_after(LAST_WORD))]
    with process("work", store, provider) as worker:
        seen = until_said(follower, LAST_WORD)
        worker.kill()
    check(worker.returncode == -signal.SIGKILL, f"killed with SIGKILL while the model was saying {said(seen)!r}")
    check(len(provider.billed) == 3, "3 model calls were billed so far, the last one for nothing")
    provider.release.set()
    return seen


def comes_back(session: Session, provider: Provider) -> None:
    title("2. The same call again, in this process")
    served, billed = len(finished(session, "model")), len(provider.billed)
    answers = session.run(geographer, QUESTIONS)
    for question, text in zip(QUESTIONS, answers, strict=True):
        say(f"     {question} {text}")
    billed = len(provider.billed) - billed
    check("Potato City" in answers[-1], "it went on where it was, to the end")
    check((served, billed) == (2, 2), f"of 4 model calls {served} were served from the record and {billed} billed")
    check(len(session.state().tool_calls) == len(finished(session, "tool")) == 2, "each of the 2 tool calls ran once")


def was_seen_live(seen: list[Any], session: Session) -> None:
    title("3. What the other process saw meanwhile, across the kill")
    for line in told(seen):
        say(f"     {line}", DIM)
    check([index for index, *_ in seen] == [event.index for event in session.events()], "every event, once, in order")


def branches(session: Session, provider: Provider) -> None:
    title("4. A branch: what if the tool had said something else?")
    before = [event.raw for event in session.events()]
    tool = finished(session, "tool")[-1]
    provider.exchanges.append(traffic("openai-responses-stream-phases")[1].retold("Potato City", "Frytown"))
    billed = len(provider.billed)
    branch = session.fork("capitals-what-if", replace={tool.key: "Frytown"})
    *_, last = branch.run(geographer, QUESTIONS)
    say(f"     {QUESTIONS[-1]} {last}")
    check("Frytown" in last, f"forked at step {tool.key}, with another result, the branch went its own way")
    check(len(provider.billed) - billed == 1, "of its 4 model calls 3 came from the shared history and 1 was billed")
    check([event.raw for event in session.events()] == before, "the parent is what it was, byte for byte")


def is_replayed(session: Session) -> None:
    title("5. Offline, with the provider gone: would a changed prompt have asked the same?")
    check(session.replay(geographer).identical, "unchanged code replays to the same answers")
    with changed_prompt("Answer in one word."):
        report = session.replay(geographer)
    check(not report.identical and report.divergence is not None, "changed code does not, and this is where it parts:")
    for line in str(report.divergence).splitlines():
        say(f"     {line}", YELLOW)


# --- what the story is told with --------------------------------------------------------------------------------------


@contextmanager
def a_provider() -> Iterator[Provider]:
    """The stand-in, for the agent in this process and in the ones it starts."""
    recorded = traffic("openai-responses-stream-tools") + traffic("openai-responses-stream-phases")
    with Provider(recorded, piece=500) as provider:
        openai.base_url = provider.url
        yield provider


@contextmanager
def changed_prompt(text: str) -> Iterator[None]:
    """The agent with another prompt: what an edit of this file would do."""
    global prompt
    prompt, before = text, prompt
    try:
        yield
    finally:
        prompt = before


@contextmanager
def process(role: str, store: str, provider: Provider) -> Iterator[Process]:
    """This file in a process of its own; whatever happens, it does not outlive the story."""
    command = [sys.executable, str(Path(__file__).resolve()), role, store]
    environment = {**os.environ, "PROVIDER_URL": provider.url}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        overdue = threading.Timer(60, started.kill)
        overdue.start()
        try:
            yield started
        finally:
            overdue.cancel()
            if sys.exc_info()[0] is not None:
                started.kill()


def lines(follower: Process) -> Iterator[Any]:
    """The events that the follower has printed, as `[index, type, value]`."""
    assert follower.stdout is not None
    return (json.loads(line) for line in follower.stdout)


def until_said(follower: Process, text: str) -> list[Any]:
    """The events up to the one with which the model has said `text`."""
    seen: list[Any] = []
    for event in lines(follower):
        seen.append(event)
        if said(seen).endswith(text):
            return seen
    raise SystemExit("the agent ended before it said what it was to be killed at")


def said(seen: list[Any]) -> str:
    """What the model has said in the step that is on its way."""
    text = ""
    for _, kind, value in seen:
        text = "" if kind == "step" else text + value["text"] if kind == "delta" and value["kind"] == "text" else text
    return text


def told(seen: list[Any]) -> Iterator[str]:
    """One line for each event that a reader cares about, tokens that follow each other together."""
    for (kind, target), group in groupby(seen, key=lambda event: (event[1], event[2].get("target"))):
        values = [value for *_, value in group]
        for value in values if target is None else values[:1]:
            shown = {
                "claim": f"worker {value['claim']} takes the session",
                "run": f"{value.get('agent')} begins",
                "step": f"{value.get('kind')} {value.get('name')}",
                "delta": "".join(value.get("text", "") for value in values),
                "tool_call": f"{value.get('name')}({value.get('arguments')})",
                "status": str(value.get("status")),
            }
            if kind in shown:
                yield f"{kind:<9} {shown[kind]}"


def finished(session: Session, kind: str) -> list[Any]:
    return [step for step in session.state().steps if step.kind == kind and step.status == "finished"]


BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say(text: str, style: str = "") -> None:
    print(f"\x1b[{style}m{text}\x1b[0m" if COLOUR and style else text, flush=True)


def title(text: str) -> None:
    say(f"\n{text}", BOLD)


def check(held: bool, claim: str) -> None:
    say(f"   {'✓' if held else '✗'} {claim}", GREEN if held else RED)
    if not held:
        raise SystemExit(1)


if __name__ == "__main__":
    {"work": work, "watch": watch}[sys.argv[1]](sys.argv[2]) if sys.argv[1:] else main()
