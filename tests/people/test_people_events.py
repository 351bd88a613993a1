"""What people and waiting runs write has the published form."""

from __future__ import annotations

from people_kit import append_plain, waiting
from pydantic import BaseModel, field_validator

from agentstream import Client, agent, ask, inbox, sleep, step
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.sessions.models import check


class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def is_even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("an even number, please")
        return number


@step(approve=True)
def pay(amount: int) -> int:
    return amount


@agent
def everything() -> int:
    even = ask("An even number?", schema=Even, expires=86400)
    ask("Which?", choices=["red", {"$blue": 1}])
    inbox(wait=True)
    pay(even.number)
    sleep(86400)
    return even.number


def test_every_event_fits_the_models() -> None:
    backend = EmbeddedBackend(None)
    session = Client(backend).session("s")
    for value in ({"number": 1}, {"number": 2}, {"$blue": 1}, None, True):
        stopped = waiting(lambda: session.run(everything))
        if stopped.questions:
            session.answer(stopped.questions[0], value, by="ann")
        else:
            append_plain(backend, "s", "message", {"role": "user", "parts": []}, key="m")
    assert waiting(lambda: session.run(everything)).until is not None
    events = list(session.events())
    assert {event.type for event in events} >= {"question", "answer", "message", "status", "outcome"}
    for event in events:
        assert event.mark is None
        check(event.raw)
    backend.close()
