"""The stores that session tests run on: the embedded engine and hostile ones, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile import HostileBackend

from agentstream.backends.base import Backend
from agentstream.backends.embedded import EmbeddedBackend

STORES: dict[str, Callable[[Path], Backend]] = {
    "disk": lambda folder: EmbeddedBackend(folder / "store"),
    "memory": lambda folder: EmbeddedBackend(None),
    "hostile": lambda folder: HostileBackend(),
    "ignored": lambda folder: HostileBackend(forks="ignored"),
    "empty": lambda folder: HostileBackend(forks="empty"),
}

NAMES = list(STORES)


def raw_events(session: Any) -> list[bytes]:
    """The stored messages of a session, without what a server stamps into them on the way out."""
    return [without_stamps(event.raw) for event in session.events()]


def without_stamps(message: bytes) -> bytes:
    head, mark, tail = message.partition(b',"offset":"')
    return head + tail.partition(b'"')[2] if mark and head.rfind(b'"headers"') > 0 else message
