"""A folder with an agent's code and its store, and the command line on it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from cli_kit import Answer, command, environment

from agentstream.cli import main


class Project:
    """The code really runs once, in a process of its own, and records a session. `apart`: each command does so too."""

    def __init__(self, folder: Path, code: str, name: str = "agents.py", *, apart: bool = False) -> None:
        self.folder = folder
        self.file = folder / name
        self.file.write_text(code)
        self._apart = apart
        (folder / ".agentstream").mkdir()
        self.run(sys.executable, name)

    def change(self, old: str, new: str) -> None:
        """Edits the code."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    @property
    def made(self) -> list[str]:
        """What the agent did outside."""
        return (self.folder / "made").read_text().splitlines()

    def cli(self, *arguments: str, exits: int = 0) -> Answer:
        """One command."""
        answer = self.run(*command(*arguments), exits=exits) if self._apart else self._here(*arguments)
        assert answer.code == exits, (arguments, answer)
        return answer

    def _here(self, *arguments: str) -> Answer:
        """As in a process of its own: the code is read afresh, and leaves nothing."""
        out, err, path, module, before = io.StringIO(), io.StringIO(), [*sys.path], self.file.stem, os.getcwd()
        os.chdir(self.folder)
        sys.path.insert(0, str(self.folder))
        sys.dont_write_bytecode, writes = True, sys.dont_write_bytecode
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(arguments)
        finally:
            sys.dont_write_bytecode = writes
            sys.path[:] = path
            os.chdir(before)
            client = getattr(sys.modules.pop(module, None), "client", None)
            if client is not None:
                client.close()
        return Answer(code, out.getvalue(), err.getvalue())

    def run(self, *arguments: str, exits: int = 0) -> Answer:
        """Any program in the folder."""
        env = environment(PYTHONDONTWRITEBYTECODE="1")
        done = subprocess.run(arguments, cwd=self.folder, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == exits, (arguments, done.stdout, done.stderr)
        return Answer(done.returncode, done.stdout, done.stderr)
