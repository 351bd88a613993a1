"""What stands in recorded answers, for a session that leaves its store under rules (`session.export(redact=…)`)."""

from __future__ import annotations

from functools import partial

from agentstream.adapters import Opener
from agentstream.adapters.http.redacting import without
from agentstream_anthropic._sdk import ANTHROPIC

OPENER = Opener(result=partial(without, dictionaries=ANTHROPIC.dictionaries))
