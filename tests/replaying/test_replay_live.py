"""Running on from a step: always in a fork, steered, with effects refused unless allowed."""

from __future__ import annotations

from typing import Any

import pytest
from agents_kit import Way
from replaying_kit import Support
from stores import raw_events

from agentstream import Client, ReplayOffline, SessionExists, step


@pytest.fixture(autouse=True)
def untouched(backend: Any, support: Support) -> Any:
    """Whatever is run on, the session itself stays byte for byte."""
    before = raw_events(Client(backend).session("s"))
    yield
    assert raw_events(Client(backend).session("s")) == before


def test_earlier_steps_are_served_and_later_ones_made(backend: Any, way: Way, support: Support) -> None:
    report = way.replay(backend, support.agent, live_from=2, allow="refund")
    assert [name for name, _ in support.made] == ["m", "refund"]
    assert (report.fork, report.steps, report.made, report.returned) == ("s-live-1", 2, 2, True)
    assert (report.identical, report.result) == (True, "m said 4")
    branch: Any = Client(backend).session("s-live-1").state()
    assert branch.lineage.source == "s"
    assert branch.tags == {"replay": {"of": "s", "live_from": 2}}
    assert way.replay(backend, support.agent, live_from=2, allow="refund").fork == "s-live-2"
    with pytest.raises(SessionExists):
        way.replay(backend, support.agent, live_from=2, into="s-live-2")


def test_effects_are_refused_unless_allowed(backend: Any, way: Way, support: Support) -> None:
    report = way.replay(backend, support.agent, live_from=3)
    assert support.made == []
    assert "refund" in report.refused
    assert (report.returned, report.result, report.identical) == (False, None, False)
    state = Client(backend).session(report.fork).state()
    assert [each.name for each in state.steps] == ["ask", "lookup", "ask"]  # nothing was begun: nothing is unknown
    assert way.replay(backend, support.agent, live_from=3, allow=["tool:refund"]).returned
    assert way.replay(backend, support.agent, live_from=3, allow="*").returned
    assert [name for name, _ in support.made] == ["refund", "refund"]


def test_a_refusal_cannot_be_swallowed(backend: Any, way: Way) -> None:
    acted: list[int] = []

    @step(effect="once")
    @way.of
    def act() -> None:
        acted.append(1)

    def stubborn() -> Any:
        for _ in range(3):
            try:
                yield lambda: act()
            except BaseException:
                continue
        return "all is well"

    agent = way.agent(stubborn)
    way.run(backend, agent, session="stubborn")
    acted.clear()
    report = way.replay(backend, agent, session="stubborn", live_from=0)
    assert acted == []
    assert report.refused
    assert report.result is None


def test_another_model_is_sent_and_recorded(backend: Any, way: Way, support: Support) -> None:
    report = way.replay(backend, support.agent, live_from=2, model="m2", allow="refund")
    assert (report.result, report.identical) == ("m2 said 4", False)
    assert support.made[0][0] == "m2"
    asked = Client(backend).session(report.fork).state().steps[2]
    assert asked.input["model"] == "m2"
    # it is known by what the code asks: the branch replays with the same code
    support.made.clear()
    again = way.replay(backend, support.agent, session=report.fork)
    assert (again.identical, again.result) == (True, "m2 said 4")
    assert support.made == []


def test_another_system_prompt(backend: Any, way: Way, support: Support) -> None:
    report = way.replay(backend, support.agent, live_from=2, system="be loud", allow="refund")
    _, messages = support.made[0]
    assert messages[0] == {"role": "system", "content": "be loud"}
    assert len(messages) == 4
    assert Client(backend).session(report.fork).state().tags["replay"]["system"] == "be loud"


def test_mocks_are_given_and_not_made(backend: Any, way: Way, support: Support) -> None:
    mocks = {"lookup": lambda order: {"order": order, "amount": 7}, "tool:refund": 0}
    report = way.replay(backend, support.agent, live_from=1, mock=mocks)
    assert [name for name, _ in support.made] == ["m"]
    assert support.made[0][1][3]["content"] == "7"
    assert report.returned
    steps = Client(backend).session(report.fork).state().steps
    assert (steps[1].result, steps[3].result) == ({"order": "A1", "amount": 7}, 0)
    report = way.replay(backend, support.agent, live_from=3, mock={"refund": ValueError("no money"), "other": 1})
    assert str(report.error) == "no money"
    assert report.notes == ("the mock of 'other' was not called for",)
    assert report.returned is False


def test_changed_code_before_the_step_diverges(backend: Any, way: Way, support: Support) -> None:
    support.system = "be kind"
    report = way.replay(backend, support.agent, live_from=2)
    assert (report.divergence.kind, report.divergence.step_index) == ("different_args", 0)
    assert support.made == []
    report = way.replay(backend, support.agent, live_from=0, allow="*")
    assert report.returned
    assert [name for name, _ in support.made] == ["m", "lookup", "m", "refund"]


def test_a_call_that_cannot_be_changed_is_not_made(backend: Any, way: Way) -> None:
    made: list[str] = []

    @step(kind="model")
    @way.of
    def ask(text: str) -> str:
        made.append(text)
        return text

    def asks() -> Any:
        return (yield lambda: ask("hi"))

    agent = way.agent(asks)
    way.run(backend, agent, session="plain")
    made.clear()
    for change in ({"model": "m2"}, {"system": "x"}):
        report = way.replay(backend, agent, session="plain", live_from=0, **change)
        assert "cannot be changed" in report.refused
    assert made == []


def test_a_call_of_an_adapter_that_changes_nothing_is_not_made(backend: Any) -> None:
    from agentstream import adapters

    made: list[Any] = []

    def asks() -> Any:
        call = adapters.open_step("model", "POST /x", {"model": "m", "messages": []})
        if call.served is None:
            made.append(call.changed)
            call.finish("ok")

    session = Client(backend).session("unheeding")
    session.run(asks)
    report = session.replay(asks, live_from=0, model="m2")
    assert "cannot be changed" in (report.refused or "")
    assert made == [None]


def test_repeated_and_checked(backend: Any, way: Way, support: Support) -> None:
    found = iter(["m said 4", "m said 5", "m said 4"])
    options: dict[str, Any] = {"live_from": 2, "mock": {"ask": lambda **asked: next(found)}, "allow": "*"}
    report = way.replay(
        backend, support.agent, **options, repeat=3, into="try", check=lambda result: result == "m said 4"
    )
    assert (report.passed, [each.fork for each in report.tries]) == (2, ["try-1", "try-2", "try-3"])
    assert "try 2: the check says no" in report.notes[0]
    offline = way.replay(backend, support.agent, repeat=2)
    assert (offline.passed, offline.identical) == (2, True)

    def raises(result: Any) -> bool:
        raise KeyError("x")

    checked = way.replay(backend, support.agent, check=raises)
    assert (checked.passed, "KeyError" in checked.notes[0]) == (0, True)


def test_what_it_would_cost_is_asked_first(backend: Any, way: Way) -> None:
    from agentstream import adapters

    prices = {"dear": {"input": 1000, "output": 2000, "cached": 0}, "cheap": {"input": 1, "output": 1}}

    def paid() -> Any:
        for _ in range(2):
            call = adapters.open_step("model", "POST /x", {"a": 1})
            if call.served is None:
                usage = {"input_tokens": 1000, "output_tokens": 500, "cached_tokens": 400, "model": "dear-2026"}
                call.finish("ok", usage=usage)

    session: Any = Client(backend).session("paid")
    session.run(paid)
    asked: list[Any] = []
    report = session.replay(paid, live_from=1, prices=prices, confirm=lambda cost: asked.append(cost) or False)
    assert (report.fork, report.notes) == (None, ("nothing was run",))
    assert asked[0].dollars == pytest.approx(0.6 + 1.0)
    assert (asked[0].calls, asked[0].known, report.estimate) == (1, True, asked[0])
    for model, dollars in (("cheap", 0.0015), (None, 1.6)):
        report = session.replay(paid, live_from=1, model=model, prices=prices, confirm=lambda cost: False)
        assert report.estimate.dollars == pytest.approx(dollars)
    report = session.replay(paid, live_from=0, model="unheard-of", prices=prices, confirm=lambda cost: False)
    assert (report.estimate.unpriced, str(report.estimate)) == (("unheard-of",), "unknown")
    assert session.replay(paid, live_from=2, prices=prices).estimate.calls == 0


def test_a_replay_offline_still_refuses_everything(backend: Any, way: Way, support: Support) -> None:
    """Beside all this: without `live_from` nothing is ever made."""
    support.more = ["A2"]
    ways: list[dict[str, Any]] = [{}, {"match": "ordered"}, {"match": "identity"}, {"keep_going": True}]
    for options in ways:
        assert way.replay(backend, support.agent, **options).divergence.kind == "extra_call"
    assert support.made == []
    assert issubclass(ReplayOffline, Exception)
