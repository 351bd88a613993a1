"""A PostgreSQL server of the benchmark's own: its data in a folder that goes with it, reached on loopback alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ACCOUNTS = ("postgres", "nobody")
"""Who it runs as where we are root, for which it does not start."""


def tool(name: str) -> str | None:
    """Where one of PostgreSQL's programs is; None where there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


@contextmanager
def postgres(scratch: Path) -> Iterator[str | None]:
    """The address of a server that ends with the block; None where PostgreSQL is not installed.

    Its settings are the default ones: each commit is on disk when it returns.
    """
    initdb, control = tool("initdb"), tool("pg_ctl")
    if initdb is None or control is None:
        yield None
        return
    # an account of its own reaches no folder below one that is closed to it
    folder = Path(tempfile.mkdtemp(prefix="agentstream-postgres-", dir=None if os.geteuid() == 0 else scratch))
    as_other: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_other = {"user": _account(folder), "cwd": folder}
    data, port = folder / "data", _free_port()
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
    quiet: Any = {"check": True, "stdout": subprocess.DEVNULL, **as_other}
    try:
        subprocess.run([initdb, "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"], **quiet)
        subprocess.run([control, "-D", data, "-w", "-l", folder / "log", "-o", settings, "start"], **quiet)
        try:
            yield f"postgresql://bench@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([control, "-D", data, "-w", "-m", "immediate", "stop"], **quiet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account(folder: Path) -> str:
    import pwd

    for name in ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, found.pw_uid, found.pw_gid)
        return name
    raise SystemExit("PostgreSQL does not run as root, and there is no other account to run it as")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
