"""Forking a long session early and in its middle, by position and by number.

Each fork is made by a client that has read nothing yet, as a program that is told a
position on its command line would. Early and middle take turns.
"""

from __future__ import annotations

from pathlib import Path

import sessions
from harness import Numbers, Row, main, median, ms, timed

from agentstream import Client, Position

EARLY = 10


def measure(folder: Path, quick: bool) -> dict[str, float]:
    events = 10_000 if quick else 100_000
    store = folder / "store"
    sessions.make(store, "long", events)
    with Client(store) as client:
        here = [event.position for event in client.session("long").events()]
    cuts: dict[str, int | Position] = {
        "early": here[EARLY - 1],
        "middle": here[events // 2 - 1],
        "early int": EARLY,
        "middle int": events // 2,
    }
    durations: dict[str, list[float]] = {name: [] for name in cuts}
    for turn in range(3 if quick else 5):
        for name, cut in cuts.items():
            with Client(store) as client:
                client.session("other").append("custom", {"warm": name})
                session = client.session("long")
                with timed(durations[name]):
                    session.fork(f"{name}-{turn}", at=cut)
    return {"events": events, **{name: median(values) for name, values in durations.items()}}


def rows(numbers: Numbers) -> list[Row]:
    early, middle = numbers["early"], numbers["middle"]
    early_int, middle_int = numbers["early int"], numbers["middle int"]
    where = f"in the middle of {numbers['events']:,.0f} events"
    return [
        Row(f"fork {where}, by position", ms(middle), f"at event {EARLY}: {ms(early)}", middle / early, 2),
        Row("… by number", ms(middle_int), f"at {EARLY}: {ms(early_int)}", middle_int / early_int),
    ]


if __name__ == "__main__":
    main(measure)
