"""Responses run on from a step with another model and other instructions: what the provider is sent is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai_kit import RESPONSE, RESPONSE_STREAM, RESPONSE_STREAM_ANSWER, sync_client, without
from sdk_kit import marker
from support.provider import Provider

from agentstream import Client

MODEL, PROMPT = "gpt-other", "Be loud."
STREAMS = (RESPONSE_STREAM, RESPONSE_STREAM_ANSWER)


@pytest.mark.parametrize("given", [None, "Be brief."], ids=["no-instructions", "instructions"])
def test_the_second_response_is_asked_of_another_model(tmp_path: Path, given: str | None) -> None:
    """What was before it is served: neither the first response nor the step between is made again."""
    told: Any = {} if given is None else {"instructions": given}
    one, two = (replace(each, request=without(each.request, "instructions")) for each in STREAMS)
    with Provider([one, two]) as provider, Client(tmp_path) as client, sync_client(provider) as openai:

        def asks() -> list[str]:
            first = [event.type for event in openai.responses.create(**one.request, **told)]
            first.append(marker())
            return [*first, *(event.type for event in openai.responses.create(**two.request, **told))]

        session = client.session("s")
        recorded = session.run(asks)
        first, last = provider.billed
        report = session.replay(asks, live_from=2, model=MODEL, system=PROMPT)
        assert (report.returned, report.made, report.result) == (True, 1, recorded), report
        said = {"role": "system", "content": PROMPT}
        steered = {"instructions": PROMPT} if given is not None else {"input": [said, *last["input"]]}
        assert provider.billed == [first, last, {**last, "model": MODEL, **steered}]

        assert report.fork is not None
        branch = client.session(report.fork)
        bodies = [found.input["body"] for found in branch.state().steps if found.kind == "model"]
        assert [body["model"] for body in bodies] == [first["model"], MODEL]
        assert bodies[1] == {**bodies[1], **steered}
        provider.close()
        assert branch.replay(asks).identical
        assert session.replay(asks).identical


def test_of_a_question_in_one_text_too(tmp_path: Path) -> None:
    request: Any = {"model": "m", "input": "What is the capital of PotatoLand?"}
    exchange = replace(RESPONSE, request=request)
    with Provider([exchange]) as provider, Client(tmp_path) as client, sync_client(provider) as openai:

        def asks() -> str:
            return openai.responses.create(**request).id

        session = client.session("s")
        session.run(asks)
        assert session.replay(asks, live_from=0, model=MODEL, system=PROMPT).returned
        assert provider.billed == [request, {**request, "model": MODEL, "instructions": PROMPT}]
