"""A session that was recorded without rules leaves its store under them, bodies of answers included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agentstream_openai import record
from openai import APIStatusError, OpenAI
from openai_kit import CHAT_STREAM
from support.provider import Provider
from test_openai_redact import ARGUMENTS, KEY, REDACT, assert_clean, chat, chat_stream, said, use

from agentstream import Client, Redact, agent


@pytest.mark.parametrize("rules", [None, REDACT], ids=["replayed without rules", "and with them"])
def test_streams_and_answers_are_looked_into_and_replayed(tmp_path: Path, rules: Redact | None) -> None:
    with Provider([chat_stream(), chat()]) as provider, Client("memory:") as store:
        openai = record(OpenAI(base_url=provider.url, api_key=KEY, max_retries=0))

        @agent
        def asks(question: str) -> list[Any]:
            text, arguments = said(list(openai.chat.completions.create(**CHAT_STREAM.request)))
            messages: Any = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
            answer = openai.chat.completions.create(model="m", messages=messages)
            provider.exchanges.append(chat(401))
            try:
                openai.chat.completions.create(model="m", messages=[*messages, {"role": "user", "content": "no"}])
            except APIStatusError as error:
                use(str(error))
            return [use(text), use(arguments), answer.choices[0].message.content]

        session = store.session("s")
        session.run(asks, f"I have {KEY}")
        session.export(tmp_path / "s.jsonl", redact=REDACT)

    folder = tmp_path / "store"
    with Client(folder, redact=rules) as store:
        [session] = store.import_(tmp_path / "s.jsonl")
        assert_clean(tmp_path, store)
        report = session.replay(asks)
        assert report.identical, report
        text, arguments, answer = report.result
        assert text == answer == "Your key is [redacted: api_key] and it is good."
        assert json.loads(arguments) == {"user": "me", "password": "[redacted: field]"}
        assert json.loads(ARGUMENTS) != json.loads(arguments)


def test_an_answer_in_which_nothing_is_found_stays_as_it_is(tmp_path: Path) -> None:
    with Provider([CHAT_STREAM]) as provider, Client(tmp_path / "store") as store:
        openai = record(OpenAI(base_url=provider.url, api_key=KEY))

        @agent
        def asks() -> str:
            return said(list(openai.chat.completions.create(**CHAT_STREAM.request)))[0]

        session = store.session("s")
        session.run(asks)
        session.export(tmp_path / "s.jsonl", redact=True)
        before = [event.raw for event in session.events()]
    with Client("memory:") as store:
        [session] = store.import_(tmp_path / "s.jsonl")
        after = [event.raw for event in session.events()]
        changed = [n for n, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
        assert changed == [0]  # its birth: another life
        assert session.replay(asks).identical
