"""A session of the openai client debugged end to end: stepped into, run on with another model, compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openai_kit import CHAT, CHAT_STREAM, sync_client
from support.provider import Provider

from agentstream import Client, step


def test_from_a_divergence_to_a_branch_with_another_model(tmp_path: Path) -> None:
    with Provider([CHAT, CHAT_STREAM]) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        asked: dict[str, Any] = {}

        @step(kind="tool", effect="once")
        def pay(amount: int) -> int:
            paid.append(amount)
            return amount

        def agent() -> list[str | None]:
            first = openai.chat.completions.create(**{**CHAT.request, **asked})
            pay(3)
            pieces = list(openai.chat.completions.create(**CHAT_STREAM.request))
            return [first.id, pieces[0].id]

        paid: list[int] = []
        session = client.session("s")
        recorded = session.run(agent)
        billed = len(provider.billed)

        # offline: where it stops, and what another argument changes
        stopped = session.replay(agent, break_="model?args.body.stream").stopped
        assert stopped is not None
        assert stopped.number == 2
        asked["temperature"] = 0.5
        assert session.replay(agent).divergence.path == "input.body.temperature"  # type: ignore[union-attr]
        served = session.replay(agent, match="ordered")
        assert (served.identical, served.result, len(served.drifts)) == (True, recorded, 1)
        found = session.replay(agent, keep_going=True).divergences
        assert [(each.kind, each.step_index) for each in found] == [("different_args", 0)]
        asked.clear()
        assert (len(provider.billed), paid) == (billed, [3])

        # live: another model and prompt are what the provider is sent, by both ways of asking
        report = session.replay(agent, live_from=0, model="gpt-4o-mini", system="be loud", mock={"pay": 0})
        assert report.returned, report
        assert report.estimate is not None
        assert report.estimate.calls == 2
        assert report.estimate.dollars > 0
        assert paid == [3]
        for _, request in provider.asked[-2:]:
            assert request["model"] == "gpt-4o-mini"
            assert request["messages"][0] == {"role": "system", "content": "be loud"}
        assert report.fork is not None
        branch = client.session(report.fork)
        assert [each.input["body"]["model"] for each in branch.state().steps if each.kind == "model"] == [
            "gpt-4o-mini"
        ] * 2
        assert json.dumps(branch.state().tags["replay"]["mock"]) == '["pay"]'
        provider.close()
        again = branch.replay(agent)
        assert again.identical, again
