"""Where a framework that a file is about is not installed (the oldest versions), that file is not collected."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("agents") is not None else ["test_end_to_end_openai_agents.py"]
