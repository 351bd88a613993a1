"""A session opened from its snapshot is the session: random histories, read both ways and compared in every part."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots_kit import birth, same, snapshot

from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Create

RUNS = ("a", "b", "c")


def change(kind: str, key: str, value: Any, operation: str = "insert") -> bytes:
    headers = {"operation": operation, "timestamp": "2026-01-01T00:00:00.000Z"}
    return json.dumps({"type": kind, "key": key, "value": value, "headers": headers}).encode()


@st.composite
def histories(draw: st.DrawFn) -> list[bytes]:
    """What workers, people and foreigners may have written, in and out of order."""
    found = [change("session", "i0", birth("i0"))]
    highest = 0
    for n in range(draw(st.integers(3, 40))):
        number = max(1, highest - draw(st.sampled_from([0, 0, 0, 0, 0, 1])))
        run = draw(st.sampled_from(RUNS))
        key = f"{run}/0/{draw(st.integers(0, 2))}#{draw(st.integers(1, 2))}"
        worker: dict[str, Any] = {"claim": number}
        match draw(st.sampled_from(KINDS)):
            case "claim":
                highest += 1
                found.append(change("claim", f"{highest}.n{n}", {"claim": highest, "nonce": f"n{n}", "run": run}))
            case "run":
                value = {**worker, "agent": "x", "arguments": {"n": n}, "fingerprint": "f"}
                found.append(change("run", run, value))
            case "child":
                value = {**worker, "agent": "y", "arguments": {}, "fingerprint": "f", "parent": run}
                found.append(change("run", key, value))
            case "status":
                status = draw(st.sampled_from(["running", "waiting", "failed", "finished", "cancelled"]))
                found.append(
                    change("status", run, {**worker, "status": status}, draw(st.sampled_from(["insert", "update"])))
                )
            case "step":
                input = draw(st.sampled_from([{"n": n}, {"$items": [f"{number}.0-1"]}, {"$items": [f"{number}.2-3"]}]))
                effect = draw(st.sampled_from(["repeat", "once"]))
                value = {**worker, "kind": "k", "name": "s", "input": {"n": n}, "fingerprint": "f", "effect": effect}
                found.append(change("step", key, {**value, "input": input if n % 5 else {"n": n}}))
            case "outcome":
                value = draw(
                    st.sampled_from([{"result": n, "usage": {"tokens": n}}, {"error": {"name": "E", "text": ""}}])
                )
                found.append(change("outcome", draw(st.sampled_from([key, run])), {**worker, **value}))
            case "error":
                found.append(change("error", f"{run}!{number}", {**worker, "run": run, "name": "E", "text": "t"}))
            case "item":
                found.append(change("item", f"{number}.0", {**worker, "items": [{"text": "x" * 10}, n]}))
                if n % 2:
                    found.append(change("item", f"{number}.2", {**worker, "items": {"$items": [f"{number}.0-1"]}}))
            case "question":
                found.append(change("question", key, {**worker, "prompt": "?", "kind": "question"}))
            case "answer":
                found.append(change("answer", f"w{draw(st.integers(0, 3))}", {"question": key, "value": n}))
            case "message":
                found.append(change("message", f"m{draw(st.integers(0, 3))}", {"role": "user", "n": n}))
            case "label":
                found.append(change("session", f"l{n}", {"title": f"t{n}", "tags": {"n": n}}))
            case "other":
                found.append(
                    change("own", f"o{draw(st.integers(0, 2))}", n, draw(st.sampled_from(["insert", "update"])))
                )
            case "odd":
                found.append(
                    draw(st.sampled_from([b"1", b'{"type":"step"}', change("step", "z", 1), change("custom", "", 1)]))
                )
            case "rewind":
                found.append(change("rewind", f"r{n}", {**worker, "to": draw(st.integers(0, len(found) + 1))}))
            case _:
                lineage = {"source": "s", "incarnation": f"i{n}", "count": len(found), "claim": highest}
                found.append(change("session", f"j{n}", {**birth(f"j{n}"), "lineage": lineage}))
    return found


KINDS = [
    *("claim", "claim", "claim", "run", "run", "run", "child", "status", "status", "status", "step", "step", "step"),
    *("outcome", "outcome", "outcome", "error", "item", "question", "answer", "message", "label", "other", "odd"),
    *("rewind", "fork"),
]


@settings(max_examples=40)
@given(histories(), st.data())
def test_a_session_is_the_same_from_its_snapshot(history: list[bytes], data: st.DataObject) -> None:
    backend = EmbeddedBackend(None)
    cuts = sorted(data.draw(st.sets(st.integers(2, len(history)), min_size=1, max_size=3)))
    backend.execute(Create("s", tuple(history[: cuts[0]])))
    for start, stop in zip(cuts, [*cuts[1:], len(history)], strict=True):
        snapshot(backend, "s")
        if stop > start:
            backend.execute(Append("s", tuple(history[start:stop])))
    same(backend, "s")
    same(backend, "s", data.draw(st.integers(1, len(history))))
    backend.close()
