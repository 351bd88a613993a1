"""What a backend is: something that executes operations, sync and async.

`execute` returns the operation's result or raises a `ProtocolError`, `StoreError` or
`Unavailable`; `aexecute` is the same for a running event loop; `submit` starts an
operation and returns at once (the only way to have many in flight from one thread).
The local operations below are no part of the protocol: listing and watching what a
backend keeps, and leases, which are hints and never fence (a claim in the log does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from concurrent.futures import Future


class List(msgspec.Struct, frozen=True):
    """Streams whose path begins with `prefix`, by path, after `after`. Result: a tuple of `Listed`."""

    prefix: str = ""
    after: str = ""
    limit: int = 1000


class Listed(msgspec.Struct, frozen=True):
    """One stream: `created` and `updated` in seconds since the epoch, its tail, `size` in messages (or bytes)."""

    path: str
    created: float
    updated: float
    offset: str
    size: int
    closed: bool


class Watch(msgspec.Struct, frozen=True):
    """Waits until a stream below `prefix` changes after `cursor` (None: from now on), or `wait` seconds pass."""

    prefix: str = ""
    cursor: str | None = None
    wait: float = 20.0


class Watched(msgspec.Struct, frozen=True):
    """Paths that changed and the cursor to go on from."""

    paths: tuple[str, ...]
    cursor: str


class TakeLease(msgspec.Struct, frozen=True):
    """Holds `token` for `path` until it is released or this process dies. Result: None."""

    path: str
    token: str


class DropLease(msgspec.Struct, frozen=True):
    """Lets go of a lease taken by this process; dropping one that is not held does nothing. Result: None."""

    path: str
    token: str


class LeaseHeld(msgspec.Struct, frozen=True):
    """Whether a living process (this one included) holds `token` for `path`. Result: bool."""

    path: str
    token: str


class SweepLeases(msgspec.Struct, frozen=True):
    """Removes what dead holders left of their leases, where a backend `lists`. Result: how many there were."""


class Erase(msgspec.Struct, frozen=True):
    """As `Delete`, and nothing of the stream is left in the bytes of what the backend keeps, where it `erases`.
    Result: None."""

    path: str


class Enlist(msgspec.Struct, frozen=True):
    """Says that a stream is about to be made that `List` should find. Result: None; nothing where all are found."""

    path: str


class Delist(msgspec.Struct, frozen=True):
    """Says that a stream was deleted, as `Enlist` does."""

    path: str


class Traits(msgspec.Struct, frozen=True):
    """What a backend promises beyond the protocol.

    `exact_forks`: a fork at any (offset, skip) is made exactly, across appends, without reading it back;
    `skips`: `Read.skip` is done by the backend (else the caller reads and drops);
    `lists`: `List` and `Watch` are there; `catalogs`: `List` is, and finds what was enlisted;
    `erases`: `Erase` is; `subscribes`: the protocol's subscriptions may be (`protocol/subscriptions.py`).
    """

    exact_forks: bool = False
    skips: bool = False
    lists: bool = False
    catalogs: bool = False
    erases: bool = False
    subscribes: bool = False


@runtime_checkable
class Backend(Protocol):
    """Who keeps streams. `name` is how messages call it (a path, a URL, `memory:`)."""

    name: str
    traits: Traits

    def execute(self, operation: Any) -> Any:
        """Runs one operation and returns its result."""
        ...

    async def aexecute(self, operation: Any) -> Any:
        """Runs one operation without blocking the event loop."""
        ...

    def submit(self, operation: Any) -> Future[Any]:
        """Starts one operation; its future is resolved on a thread of the backend's."""
        ...

    def close(self) -> None:
        """Releases connections and threads; what was acknowledged is already durable."""
        ...
