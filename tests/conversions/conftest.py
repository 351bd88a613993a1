"""Where a framework that a file is about is not installed (the oldest versions), that file is not collected."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore: list[str] = []
if find_spec("pydantic_ai") is None:
    collect_ignore += ["test_conversions_pydantic_ai.py", "test_conversions_across.py"]
