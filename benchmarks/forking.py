"""Forking a long session early and in its middle, by position and by number.

Each fork is made by a client that has read nothing yet, as a program that is told a
position on its command line would. They take turns, with the fork of a short session too:
what a fork costs should not depend on how long its source is.
"""

from __future__ import annotations

from pathlib import Path

import sessions
from harness import Numbers, Row, main, median, ms, timed

from agentstream import Client, Position

EARLY, SHORT = 10, 1_000


def measure(folder: Path, quick: bool) -> dict[str, float]:
    events = 10_000 if quick else 100_000
    store = folder / "store"
    sessions.make(store, "long", events)
    sessions.make(store, "short", SHORT)
    with Client(store) as client:
        here = [event.position for event in client.session("long").events()]
        there = next(event.position for event in client.session("short").events(start=EARLY - 1))
    cuts: dict[str, tuple[str, int | Position]] = {
        "early": ("long", here[EARLY - 1]),
        "middle": ("long", here[events // 2 - 1]),
        "early int": ("long", EARLY),
        "middle int": ("long", events // 2),
        "short": ("short", there),
    }
    durations: dict[str, list[float]] = {name: [] for name in cuts}
    for turn in range(3 if quick else 5):
        for name, (source, cut) in cuts.items():
            with Client(store) as client:
                client.session("other").append("custom", {"warm": name})
                session = client.session(source)
                with timed(durations[name]):
                    session.fork(f"{name}-{turn}", at=cut)
    return {"events": events, **{name: median(values) for name, values in durations.items()}}


def rows(numbers: Numbers) -> list[Row]:
    early, middle, short = numbers["early"], numbers["middle"], numbers["short"]
    early_int, middle_int = numbers["early int"], numbers["middle int"]
    where = f"in the middle of {numbers['events']:,.0f} events"
    return [
        Row(f"fork {where}, by position", ms(middle), f"at event {EARLY}: {ms(early)}", middle / early, 2),
        Row(f"… beside a session of {SHORT:,} events", ms(middle), f"at event {EARLY}: {ms(short)}", middle / short, 2),
        Row("… by number", ms(middle_int), f"at {EARLY}: {ms(early_int)}", middle_int / early_int),
    ]


if __name__ == "__main__":
    main(measure)
