"""A command starts fast: what only some need is not imported for all."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"httpx", "pydantic", "sqlite3", "asyncio", "rich", "uvicorn", "importlib.metadata", "cryptography", "zipfile"}
PROGRAM = """
import sys
from agentstream.cli import main
main(["--help"])
print(*sys.modules, file=sys.stderr)
"""


def test_help_imports_little():
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import site; site.main()\n" + PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert HEAVY & set(done.stderr.split()) == set()
