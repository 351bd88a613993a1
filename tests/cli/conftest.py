"""A store with sessions as agents leave them, and the command line run on it in this process or in one of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_kit import EVIL, Answer, Cli, command, environment, support

from agentstream import Client
from agentstream.cli import main


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """`support/42` (finished), its fork `support/42-b`, `rewound`, sealed."""
    folder = tmp_path / ".agentstream"
    with Client(folder) as client:
        first = client.session("support/42")
        first.append("message", {"role": "user", "parts": [{"type": "text", "text": EVIL}]}, key="asked")
        first.run(support, 2)
        first.append("note.taken", {"bytes": b"x", "whole": 1.0})
        first.fork("support/42-b", 7)
        rewound = client.session("rewound")
        rewound.run(support, 1)
        rewound.rewind(at=5)
        rewound.seal()
    return folder


@pytest.fixture
def cli(store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs the command line in this process, on the store."""
    monkeypatch.chdir(store.parent)

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def process(store: Path) -> Cli:
    """Runs the command line in a process of its own whose output is a pipe."""

    def call(*arguments: str, **changes: str) -> Answer:
        done = subprocess.run(
            command(*arguments),
            cwd=store.parent,
            env=environment(**changes),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def terminal(store: Path) -> Callable[..., str]:
    """Runs the command line on a terminal of 24 lines and gives what it showed; `typed` is typed into it."""

    def run(*arguments: str, columns: int = 100, typed: str = "", **changes: str) -> str:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = environment(**changes)
        env.pop("COLUMNS", None)
        with subprocess.Popen(
            command(*arguments), cwd=store.parent, env=env, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            hanging = threading.Timer(60, process.kill)  # it asks what nobody types
            hanging.daemon = True
            hanging.start()
            os.close(theirs)
            os.write(ours, typed.encode())
            shown = b""
            while True:
                try:
                    part = os.read(ours, 65536)
                except OSError:
                    break
                if not part:
                    break
                shown += part
        hanging.cancel()
        os.close(ours)
        return shown.decode()

    return run
