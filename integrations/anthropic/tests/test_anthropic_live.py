"""A recorded session run on from a step: what the provider is sent is right, whoever looks at the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from anthropic_kit import PARALLEL, PARALLEL_ANSWER, THINKING, asked, serving, streamed, sync_client
from anthropic_worker import asker, tool_of
from sdk_kit import pass_by

from agentstream import Client

CHANGED: dict[str, Any] = {"model": "claude-other", "system": "Be loud."}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_turn_after_the_tools_is_asked_of_another_model(tmp_path: Path, *, stream: bool) -> None:
    """What was before it is served: no call of the model or of a tool is made again."""
    exchanges = [streamed(PARALLEL), streamed(PARALLEL_ANSWER)] if stream else [PARALLEL, PARALLEL_ANSWER]
    with serving(exchanges) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        effects = tmp_path / "effects.txt"
        asks = asker(anthropic, tool_of(effects, pass_by), pass_by, streamed=stream)
        session = client.session("s")
        answer = session.run(asks)
        done = effects.read_text()
        kinds = [found.kind for found in session.state().steps]
        first, last = provider.billed

        report = session.replay(asks, live_from=len(kinds) - 1, **CHANGED)
        assert (report.returned, report.made, report.result) == (True, 1, answer), report
        assert effects.read_text() == done
        assert provider.billed == [first, last, {**last, **CHANGED}]

        assert report.fork is not None
        branch = client.session(report.fork)
        bodies = [found.input["body"] for found in branch.state().steps if found.kind == "model"]
        assert [body["model"] for body in bodies] == [first["model"], "claude-other"]
        assert bodies[1]["system"] == "Be loud."
        provider.close()
        assert branch.replay(asks).identical
        assert session.replay(asks).identical


@pytest.mark.parametrize("given", [None, [{"type": "text", "text": "Be brief."}]], ids=["none", "in-parts"])
def test_the_prompt_has_its_place_whatever_the_code_gives(tmp_path: Path, given: Any) -> None:
    told: Any = {} if given is None else {"system": given}
    with serving([THINKING]) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:

        def asks() -> str:
            return anthropic.messages.create(**asked(THINKING, **told)).id

        session = client.session("s")
        session.run(asks)
        report = session.replay(asks, live_from=0, **CHANGED)
        assert report.returned, report
        before, after = provider.billed
        assert before.get("system") == given
        assert after == {**before, **CHANGED}
