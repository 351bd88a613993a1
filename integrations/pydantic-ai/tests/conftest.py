"""Puts what all tests share, and the stand-in provider that the examples use, within reach of these."""

import sys
from importlib.util import find_spec
from pathlib import Path

root = Path(__file__).parents[3]
sys.path[:0] = [str(root / "examples"), str(root / "tests")]

# AG-UI's own types are in the default environment only.
collect_ignore = [] if find_spec("ag_ui") else ["test_pydantic_ai_ui.py"]
# Workspaces are younger than the oldest version.
collect_ignore += [] if find_spec("pydantic_ai.workspaces") else ["test_pydantic_ai_workspace.py"]
