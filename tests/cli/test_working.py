"""What takes long says so to a person, and leaves nothing of it; nothing is said where nobody looks."""

from __future__ import annotations

import io
import threading

import pytest

from agentstream.cli import working
from agentstream.cli.working import size


class Screen(io.StringIO):
    """A terminal, and whether something was shown on it."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal, self.shown = terminal, threading.Event()

    def isatty(self) -> bool:
        return self.terminal

    def flush(self) -> None:
        self.shown.set()


def test_it_is_told_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(working, "SOON", 0.0)
    with working.working("reading a\x1b[2J", lambda: "3 KB"):
        assert screen.shown.wait(60)
    said = screen.getvalue()
    assert said.startswith("\r\x1b[Kreading a")
    assert "… 3 KB, 0 s" in said
    assert "\x1b[2J" not in said
    assert said.endswith("\r\x1b[K")


def test_what_is_soon_done_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(working, "SOON", 60)
    with working.working("reading"):
        pass
    assert screen.getvalue() == ""


def test_nothing_is_said_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(False)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(working, "SOON", 0.0)
    threads = threading.active_count()
    with working.working("reading"):
        assert threading.active_count() == threads
    assert screen.getvalue() == ""


def test_sizes() -> None:
    assert [size(count) for count in (9, 1500, 2_000_000, 3_000_000_000)] == ["9 bytes", "1 KB", "2 MB", "3 GB"]


def test_an_error_inside_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(working, "SOON", 0.0)

    def fails() -> None:
        with working.working("reading"):
            assert screen.shown.wait(60)
            raise LookupError

    with pytest.raises(LookupError):
        fails()
    assert screen.getvalue().endswith("\r\x1b[K")
