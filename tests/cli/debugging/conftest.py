"""An agent's code in a file beside the store, as people have it, and sessions that it recorded."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentstream import Client
from agentstream.cli.code import imported

CODE = """
import os

from agentstream import agent, ask, step

SYSTEM = "be brief"
END = None


@step(kind="model")
def model(messages, model="m"):
    return f"{model} said {len(messages)}"


@step(kind="tool")
def lookup(order):
    return {"order": order, "amount": 4999}


@step(kind="tool", effect="once")
def refund(amount):
    with open("refunds", "a") as file:
        file.write(f"{amount}\\n")
    return amount


@agent
def support(question, urgent=False):
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    messages.append({"role": "assistant", "content": model(messages)})
    found = lookup("A1")
    messages.append({"role": "tool", "content": str(found["amount"])})
    said = model(messages)
    refund(found["amount"])
    if END == "raise":
        raise ValueError("at the end")
    return END or said


@agent
async def anew(question):
    return lookup(question)["order"]


@agent
def asks():
    return ask("really?", schema=bool)


def fine(result):
    return result == "m said 4"


def never(result):
    return False
"""

_numbers = itertools.count()


class Code:
    """The user's module. `change` edits it; a command run in this process then imports it anew."""

    def __init__(self, folder: Path) -> None:
        self.module = f"users_code_{next(_numbers)}"
        self.file = folder / f"{self.module}.py"
        self.text = CODE
        self.change("", "")

    def change(self, old: str, new: str) -> None:
        assert old in self.text
        self.text = self.text.replace(old, new, 1) if old else self.text
        self.file.write_text(self.text)
        sys.modules.pop(self.module, None)
        stale = self.file.parent / "__pycache__"
        for each in stale.glob("*") if stale.exists() else ():
            each.unlink()

    def __getitem__(self, name: str) -> str:
        return f"{self.module}:{name}"


@pytest.fixture
def module(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Code]:
    monkeypatch.chdir(store.parent)
    path = list(sys.path)
    made = Code(store.parent)
    yield made
    sys.path[:] = path
    sys.modules.pop(made.module, None)


@pytest.fixture
def recorded(store: Path, module: Code) -> Code:
    """The code, which recorded session `s1`; `s1-b` is a branch in which the order was another one."""
    with Client(store) as client:
        session = client.session("s1")
        assert session.run(imported(module["support"]), "where?") == "m said 4"
        step = session.state().steps[1]
        session.fork("s1-b", replace={step.key: {"order": "A1", "amount": 7}}).resume(imported(module["support"]))
    return module


@pytest.fixture
def refunds(store: Path) -> list[str]:
    """What was really paid, as it is when it is read."""
    return _Lines(store.parent / "refunds")


class _Lines(list[str]):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def __len__(self) -> int:
        return len(self._file.read_text().splitlines()) if self._file.exists() else 0
