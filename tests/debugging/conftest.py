"""Where a framework that a file is about is not installed (the oldest versions), that file is not collected."""

from __future__ import annotations

from importlib.util import find_spec

# `agents` would also be found without the SDK: a folder of these tests has that name.
_FRAMEWORKS = {
    "test_end_to_end_openai_agents.py": ["agentstream_openai_agents"],
    "test_end_to_end_live.py": ["agentstream_openai_agents", "agentstream_pydantic_ai"],
}
collect_ignore = [file for file, needs in _FRAMEWORKS.items() if not all(map(find_spec, needs))]
