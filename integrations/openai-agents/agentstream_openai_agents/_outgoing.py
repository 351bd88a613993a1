"""What stands in recorded streams, for a session that leaves its store under rules (`session.export(redact=…)`)."""

from __future__ import annotations

from functools import partial

from agentstream.adapters import Opener
from agentstream.adapters.http.redacting import without
from agentstream_openai_agents._dictionary import V1

OPENER = Opener(result=partial(without, dictionaries={"zlib/1": V1}, content_type="text/event-stream"))
