"""A session that was recorded without rules leaves its store under them, streams included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentstream_anthropic import record
from agentstream_anthropic._sdk import ANTHROPIC
from anthropic import Anthropic
from anthropic_kit import PARALLEL, PATH, SECRET, Exchange, address, asked, serving, streamed

from agentstream import Client, Redact, agent, step
from agentstream.adapters.http import Recorded


def test_a_stream_that_cuts_a_secret_in_pieces_is_looked_into_and_replayed(tmp_path: Path) -> None:
    whole = json.loads(PARALLEL.body)
    whole["content"] = [
        {"type": "text", "text": f"Your key, which nobody else should ever see, is {SECRET} and it is good."},
        {"type": "tool_use", "id": "toolu_1", "name": "log_in", "input": {"user": "me", "with": SECRET}},
    ]
    said = streamed(Exchange(PATH, PARALLEL.request, 200, "application/json", json.dumps(whole)))
    with serving([said]) as provider, Client("memory:") as store:
        client = record(Anthropic(base_url=address(provider), api_key="x"))

        @step
        def log_in(**how: str) -> str:
            return "in"

        @agent
        def asks() -> Any:
            with client.messages.stream(**asked(PARALLEL)) as stream:
                text, call = (block.model_dump() for block in stream.get_final_message().content)
            return [text, {**call, "found": log_in(**call["input"])}]

        session = store.session("s")
        session.run(asks)
        session.export(tmp_path / "s.jsonl", redact=Redact(patterns={"key": r"sk-ant-[a-z-]+"}))
    assert SECRET[7:].encode() not in (tmp_path / "s.jsonl").read_bytes()
    with Client("memory:") as store:
        [session] = store.import_(tmp_path / "s.jsonl")
        body = Recorded.read(session.state().steps[0].result, ANTHROPIC.dictionaries)
        assert body is not None
        assert SECRET not in repr(body)
        report = session.replay(asks)
        assert report.identical, report
        text, call = report.result
        assert text["text"].endswith("is [redacted: anthropic_key] and it is good.")
        assert call["input"] == {"user": "me", "with": "[redacted: anthropic_key]"}
