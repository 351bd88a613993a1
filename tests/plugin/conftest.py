"""Where a framework that a file is about is not installed (the oldest versions), that file is not collected."""

from __future__ import annotations

from importlib.util import find_spec

# `agents` would also be found without the SDK: a folder of these tests has that name.
_there = find_spec("agentstream_openai_agents") is not None and find_spec("pydantic_ai") is not None
collect_ignore = [] if _there else ["test_cassettes_of_frameworks.py"]
