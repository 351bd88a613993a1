"""Stores to look at with the inspector: made by the tests, and by `python tests/inspector/worlds.py FOLDER [WORLD …]`.

Worlds: `small` (sessions of every kind and state, forks, spawned children, a waiting question), `hostile` (what a
stranger could have had recorded), `10000` and `50000` (long sessions of that many events).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from agentstream import Client, RunWaiting, agent, ask, recorded, step
from agentstream.protocol.operations import Append
from agentstream.sessions.events import write_event
from agentstream.sessions.ids import path_of

EVIL = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "[x](javascript:alert(1)) \x1b[2J\x1b]0;owned\x07 \u202etxt.exe\u2069 \u0000 "
    "![p](http://127.0.0.1:9/p.png) </script>"
)
"""Text that would do harm where it is taken for anything but text."""

ORDERS = {"A1": {"status": "lost", "amount": 4999, "currency": "USD"}, "B2": {"status": "sent", "amount": 1250}}


@step
def lookup_order(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, **ORDERS[order_id]}


@step(effect="once")
def refund(order_id: str, amount: int) -> dict[str, Any]:
    return {"refunded": amount, "order_id": order_id}


@step
def flaky(order_id: str) -> str:
    raise ConnectionError(f"the courier of {order_id} does not answer")


@agent
def support(question: str) -> str:
    order = lookup_order("A1")
    with contextlib.suppress(ConnectionError):
        flaky("A1")
    recorded.now()
    if order["status"] == "lost":
        refund("A1", order["amount"])
    return f"{question}: it was lost, and you have your money back."


@agent
def clerk(question: str) -> str:
    lookup_order("B2")
    answer = ask("Refund 12.50 USD for order B2?", choices=["yes", "no"])
    return f"{question}: {answer}"


@agent
def crawler(url: str) -> None:
    lookup_order("B2")
    raise ValueError(f"{url} is no address")


def said(role: str, *parts: dict[str, Any] | str) -> dict[str, Any]:
    """A message's value."""
    return {
        "role": role,
        "parts": [{"type": "text", "text": each} if isinstance(each, str) else each for each in parts],
    }


def model_turn(
    run: str, ordinal: int, question: str, parts: list[dict[str, Any]], tokens: tuple[int, int]
) -> list[bytes]:
    """The events of one model call as a provider's adapter writes them."""
    key = f"{run}/0/{ordinal}#1"
    usage = {"input_tokens": tokens[0], "output_tokens": tokens[1], "model": "gpt-4o-2024-08-06"}
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": question}]}
    text = next((part["text"] for part in parts if part["type"] == "text"), "")
    deltas = [
        write_event("delta", f"{key}/d{n}", {"target": key, "kind": "text", "text": word + " ", "attempt": 1}, claim=1)
        for n, word in enumerate(text.split()[:4])
    ]
    calls = [
        write_event("tool_call", f"{key}/{part['id']}", {k: part[k] for k in ("id", "name", "arguments")}, claim=1)
        for part in parts
        if part["type"] == "tool_call"
    ]
    return [
        write_event(
            "step",
            key,
            {"kind": "model", "name": "POST /v1/responses", "input": asked, "fingerprint": f"f{ordinal}"},
            claim=1,
        ),
        *deltas,
        *calls,
        write_event("message", f"{key}/m0", {"role": "assistant", "parts": parts}, claim=1),
        write_event("outcome", key, {"result": {"status": 200, "output": parts}, "usage": usage}, claim=1),
    ]


def begun(run: str, name: str, arguments: Any) -> list[bytes]:
    """The events with which a worker begins a run."""
    return [
        write_event("claim", "1.nonce", {"nonce": "nonce", "run": run}, claim=1),
        write_event("run", run, {"agent": name, "arguments": arguments, "fingerprint": "f"}, claim=1),
        write_event("status", run, {"status": "running"}, claim=1, operation="update"),
    ]


def ended(run: str, result: Any) -> list[bytes]:
    return [
        write_event("outcome", run, {"result": result}, claim=1),
        write_event("status", run, {"status": "finished"}, claim=1, operation="update"),
    ]


def write(client: Client, session: str, messages: Iterable[bytes]) -> None:
    """Appends messages as they are, a thousand at a time."""
    found = list(messages)
    for start in range(0, len(found), 1000):
        batch = tuple(found[start : start + 1000])
        client._core.backend.execute(Append(path_of(session), batch))  # pyright: ignore[reportPrivateUsage]


def small(client: Client) -> None:
    """Sessions of every kind and state."""
    desk = client.session("support/42")
    desk.append("session", {"title": "Where is order A1?", "tags": {"customer": "ada", "env": "prod"}})
    desk.append("message", said("user", "Where is order **A1**?"), key="asked")
    desk.run(support, "Where is order A1?")
    desk.append("note.taken", {"by": "ada", "bytes": b"x", "whole": 1.0})
    desk.append("custom", {"unknown": ["kept", 1, None]})
    steps = desk.state().steps
    refunded = next(step for step in steps if step.name == "refund")
    desk.fork("support/42-b", replace={steps[0].key: {"order_id": "A1", **ORDERS["B2"]}})
    client.session("support/42-b").resume(support)
    desk.fork("support/42-c", refunded.last.start.index)
    client.session("support/42-b").fork("support/42-b-2", 7)
    with contextlib.suppress(RunWaiting):
        client.session("support/43").run(clerk, "Where is order B2?")
    with contextlib.suppress(ValueError):
        client.session("crawler").run(crawler, "not an address")
    rewound = client.session("rewound")
    rewound.run(support, "Again?")
    rewound.rewind(at=5)
    sealed = client.session("sealed")
    sealed.append("message", said("user", "The last word."))
    sealed.seal()
    client.session("chat").append("message", said("user", "What is in this repository?"), key="asked")
    chat = begun("r1", "assistant", {"question": "What is in this repository?"})
    call = {"type": "tool_call", "id": "call_1", "name": "list_files", "arguments": {"path": "."}}
    chat += model_turn(
        "r1", 0, "What is in this repository?", [{"type": "reasoning", "text": "I should look."}, call], (812, 34)
    )
    chat += [
        write_event(
            "step",
            "r1/0/1#1",
            {"kind": "tool", "name": "list_files", "input": {"path": "."}, "fingerprint": "f1"},
            claim=1,
        ),
        write_event("outcome", "r1/0/1#1", {"result": ["README.md", "src/", "tests/"]}, claim=1),
    ]
    told = (
        "Three things:\n\n- `README.md`\n- `src/`\n- `tests/`\n\n"
        "```python\nprint('hello')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    chat += model_turn("r1", 2, "And?", [{"type": "text", "text": told}], (901, 120))
    write(client, "chat", [*chat, *ended("r1", told)])


def hostile(client: Client) -> None:
    """What a stranger could have had recorded."""
    evil = client.session("hostile")
    evil.append("session", {"title": EVIL, "tags": {EVIL: EVIL}})
    evil.append("message", said("user", EVIL), key="evil")
    evil.append(
        "message",
        said(EVIL, {"type": EVIL, "text": EVIL}, {"type": "file", "url": "javascript:alert(1)", "name": EVIL}),
    )
    evil.append("message", {"role": "user", "parts": "no list", "content": EVIL})
    evil.append("big.text", EVIL + "x" * 5_000_000)
    evil.append("big.list", [{"n": n, "text": EVIL} for n in range(20_000)])
    evil.append("big.names", {f"{EVIL}{n}": n for n in range(2_000)})
    deep: Any = EVIL
    for _ in range(150):
        deep = {"deeper": deep}
    evil.append("deep", deep)
    write(
        client,
        "hostile",
        [
            *begun("r1", EVIL, {EVIL: EVIL}),
            *model_turn("r1", 0, EVIL, [{"type": "text", "text": EVIL}], (10, 10)),
            b'{"no": "event"}',
            b'{"type": "step", "key": 7, "value": [], "headers": {"operation": "insert"}}',
            b'{"type": "odd", "key": "k", "value": {"n": 123456789012345678901234567890}, "headers": {}}',
            b'{"type": "message", "key": "m", "value": "text",'
            b' "headers": {"operation": "insert", "timestamp": "yesterday"}}',
            write_event("step", "r1/0/1#1", {"kind": EVIL, "name": EVIL, "input": EVIL, "fingerprint": EVIL}, claim=1),
            write_event(
                "outcome", "r1/0/1#1", {"error": {"name": EVIL, "text": EVIL}, "usage": {"model": EVIL}}, claim=1
            ),
            write_event("secret", "s", {"data": {"password": {"$redacted": "password"}, "t": "[redacted: api key] x"}}),
        ],
    )


def long(size: int) -> Callable[[Client], None]:
    """A session of so many events: model and tool calls of about 1 KB, in turns."""

    def make(client: Client) -> None:
        name = f"long/{size}"
        client.session(name).append("message", said("user", "Read all of it."), key="asked")
        messages = begun("r1", "reader", {"pages": size})
        ordinal = 0
        while len(messages) < size - 10:
            question = f"page {ordinal}: " + "what does it say? " * 20
            messages += model_turn(
                "r1", ordinal, question, [{"type": "text", "text": "It says this. " * 25}], (400, 90)
            )
            key = f"r1/0/{ordinal + 1}#1"
            value = {
                "kind": "tool",
                "name": f"read_{ordinal % 7}",
                "input": {"page": ordinal},
                "fingerprint": f"t{ordinal}",
            }
            ending = (
                {"error": {"name": "OSError", "text": "gone"}}
                if ordinal % 97 == 96
                else {"result": {"text": "z" * 700}}
            )
            messages += [write_event("step", key, value, claim=1), write_event("outcome", key, ending, claim=1)]
            ordinal += 2
        messages += ended("r1", "read")
        before = 2  # the session and what it was asked
        messages += [write_event("custom", f"c{n}", {"data": n}) for n in range(size - before - len(messages))]
        write(client, name, messages)

    return make


WORLDS: dict[str, Callable[[Client], None]] = {
    "small": small,
    "hostile": hostile,
    "10000": long(10_000),
    "50000": long(50_000),
}


def make(folder: Path, *names: str) -> Path:
    """Makes a store in `folder` with these worlds; returns where it is."""
    place = folder / ".agentstream"
    with Client(place) as client:
        for name in names:
            WORLDS[name](client)
    return place


if __name__ == "__main__":
    asked = sys.argv[2:] or ["small"]
    sys.stdout.write(f"{make(Path(sys.argv[1]), *(WORLDS if asked == ['all'] else asked))}\n")
