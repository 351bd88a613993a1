"""Puts the stand-in provider that the examples use within reach of these tests."""

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))

# AG-UI's own types are in the default environment only.
collect_ignore = [] if find_spec("ag_ui") else ["test_pydantic_ai_ui.py"]
