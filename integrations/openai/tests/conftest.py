"""Puts what all tests share, and the stand-in provider that the examples use, within reach of these."""

import sys
from pathlib import Path

root = Path(__file__).parents[3]
sys.path[:0] = [str(root / "examples"), str(root / "tests")]
