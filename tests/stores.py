"""The stores that session tests run on: the embedded engine and hostile ones, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile import HostileBackend
from node_server import node_server
from our_server import our_server
from public_server import public_server

from agentstream.backends.base import Backend
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.backends.remote import RemoteBackend

STORES: dict[str, Callable[[Path], Backend]] = {
    "disk": lambda folder: EmbeddedBackend(folder / "store"),
    "memory": lambda folder: EmbeddedBackend(None),
    "hostile": lambda folder: HostileBackend(),
    "ignored": lambda folder: HostileBackend(forks="ignored"),
    "empty": lambda folder: HostileBackend(forks="empty"),
    "server": lambda folder: RemoteBackend(our_server().place()),
    "server-disk": lambda folder: RemoteBackend(our_server("file").place()),
    "node": lambda folder: RemoteBackend(node_server().place()),
    "node-file": lambda folder: RemoteBackend(node_server("file").place()),
    "rust": lambda folder: RemoteBackend(public_server("rust").place()),
    "rust-memory": lambda folder: RemoteBackend(public_server("rust-memory").place()),
}

STITCHED = ("ignored", "empty", "rust-memory")
"""Where a fork is never the store's own: it reads its first events from its source, which lives as long as it does."""

ALL = bool(os.environ.get("AGENTSTREAM_TEST_ALL"))

REMOTE = ["server", "server-disk", "node", "node-file", "rust", "rust-memory"] if ALL else ["server", "node"]
NAMES = ["disk", "memory", "hostile", "ignored", "empty", *REMOTE]


def raw_events(session: Any) -> list[bytes]:
    """The stored messages of a session, without what a server stamps into them on the way out."""
    return [without_stamps(event.raw) for event in session.events()]


def without_stamps(message: bytes) -> bytes:
    head, mark, tail = message.partition(b',"offset":"')
    return head + tail.partition(b'"')[2] if mark and head.rfind(b'"headers"') > 0 else message
