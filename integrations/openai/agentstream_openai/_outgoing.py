"""What stands in recorded answers, for a session that leaves its store under rules (`session.export(redact=…)`)."""

from __future__ import annotations

from functools import partial

from agentstream.adapters import Opener
from agentstream.adapters.http.redacting import without
from agentstream_openai._sdk import OPENAI

OPENER = Opener(result=partial(without, dictionaries=OPENAI.dictionaries))
