"""Runs programs and says what is going on, for the tools that run before anything is installed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


class Failed(Exception):
    """A rung of the ladder that did not hold; the text says why."""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def run(command: Sequence[str | Path], **variables: str) -> None:
    """Runs a command and shows its output, so that a long one is seen to be at work (without uv's list of packages)."""
    words = [str(part) for part in command]
    try:
        process = subprocess.Popen(
            words,
            env={"PIP_ROOT_USER_ACTION": "ignore", **os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as problem:
        raise Failed(f"{words[0]}: {problem}") from problem
    with process:
        for line in process.stdout or ():
            if not line.startswith((" + ", " - ", " ~ ")):
                print(f"    {line.rstrip()}", flush=True)
    if process.returncode:
        raise Failed(f"exit {process.returncode}: {' '.join(words)}")


def answers(command: Sequence[str | Path]) -> str | None:
    """What a command prints, or None if it fails."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
