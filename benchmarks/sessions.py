"""Sessions of a given length, made through the public face for the benchmarks that read them."""

from __future__ import annotations

from pathlib import Path

from harness import text

from agentstream import Client, adapters, agent

EVENTS_A_STEP = 100


@agent
def wordy(steps: int) -> None:
    """Steps that each say 98 short messages: with its start and its outcome, 100 events a step."""
    for n in range(steps):
        call = adapters.open_step("model", "talk", {"n": n})
        for place in range(EVENTS_A_STEP - 2):
            parts = [{"type": "text", "text": text(60, f"{n}/{place}")}]
            call.emit("message", {"role": "assistant", "parts": parts})
        call.finish({"said": n})


def make(folder: Path, id: str, events: int) -> None:
    """A session of about this many events, of one finished run."""
    with Client(folder) as client:
        client.session(id).run(wordy, events // EVENTS_A_STEP)
