"""Leases: an OS lock on a file, held by whoever opened it, freed by the kernel when that process dies.

The file is named by a hash of (path, token) and removed when it is let go; one whose holder
died is removed by whoever finds it free. A process that is stopped (SIGSTOP) keeps its
leases. `memory:` has no other process, so a set does.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from pathlib import Path

from agentstream.backends.embedded.faults import translated
from agentstream.errors import SessionBusy

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        # flock, not fcntl locks: those belong to the process and could not tell two leases of one process apart
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


Key = tuple[str, str]

_LOOKED_AT_SECONDS = 0.2
"""A look at a lease (`held`) locks it for microseconds; taking one is tried for this long."""


class Leases:
    """The leases of one backend. `folder` is None for `memory:`."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder = folder
        self._name = name
        self._held: dict[Key, int] = {}
        self._lock = threading.Lock()

    def take(self, path: str, token: str) -> None:
        """Holds the lease until `drop`; `SessionBusy` if it is held."""
        key = (path, token)
        with self._lock, translated(self._name):
            fd = None if key in self._held else self._acquire(key)
            if fd is None:
                raise SessionBusy(f"the lease {token!r} of {path!r} is held by a living process")
            self._held[key] = fd

    def drop(self, path: str, token: str) -> None:
        """Lets go of a lease; does nothing if this backend does not hold it."""
        with self._lock, translated(self._name):
            fd = self._held.pop((path, token), None)
            if fd is not None and self._folder is not None:
                self._remove(self._file((path, token)), fd)

    def held(self, path: str, token: str) -> bool:
        """Whether a living process holds the lease."""
        with self._lock, translated(self._name):
            if (path, token) in self._held:
                return True
            if self._folder is None:
                return False
            file = self._file((path, token))
            try:
                fd = os.open(file, os.O_RDWR)
            except FileNotFoundError:
                return False
            if not _try_lock(fd):
                os.close(fd)
                return True
            if _is(file, fd):
                self._remove(file, fd)
            else:
                os.close(fd)  # removed, and perhaps made anew, since it was opened: a lease was let go just now
                return file.exists()
            return False

    def sweep(self) -> int:
        """Removes the files of leases that nobody holds; returns how many."""
        swept = 0
        with self._lock, translated(self._name):
            for file in self._folder.iterdir() if self._folder is not None and self._folder.is_dir() else ():
                try:
                    fd = os.open(file, os.O_RDWR)
                except FileNotFoundError:
                    continue
                if _try_lock(fd) and _is(file, fd):
                    self._remove(file, fd)
                    swept += 1
                else:
                    os.close(fd)  # held, by this process too: each opening of a file locks for itself
        return swept

    def close(self) -> None:
        """Lets go of all."""
        for path, token in list(self._held):
            self.drop(path, token)

    def after_fork(self) -> None:
        """In a forked child: the leases stay the parent's (unlocking would free them; closing does not)."""
        self._lock = threading.Lock()
        if self._folder is not None:
            for fd in self._held.values():
                os.close(fd)
        self._held = {}

    def _file(self, key: Key) -> Path:
        assert self._folder is not None
        return self._folder / hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]

    def _acquire(self, key: Key) -> int | None:
        if self._folder is None:
            return -1
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._file(key)
        give_up = time.monotonic() + _LOOKED_AT_SECONDS
        while True:
            fd = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
            if _try_lock(fd):
                if _is(file, fd):
                    return fd
                os.close(fd)  # it was removed between open and lock
                continue
            os.close(fd)
            if time.monotonic() > give_up:
                return None
            time.sleep(0.002)

    def _remove(self, file: Path, fd: int) -> None:
        if sys.platform == "win32":
            os.close(fd)
            file.unlink(missing_ok=True)
        else:
            file.unlink(missing_ok=True)  # while it is locked: nobody can hold it in between
            os.close(fd)


def _is(file: Path, fd: int) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.stat(file), os.fstat(fd))
    except FileNotFoundError:
        return False
