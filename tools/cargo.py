"""Durable Streams servers of others that come from the Rust registry, exact; `make test-all` runs the core on them.

`server(name)` is the program, which cargo builds below build/ where it is missing (minutes, once), which is said.
As a program: sees to all of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from running import Failed, run, say

ROOT = Path(__file__).resolve().parent.parent

SERVERS = {
    # Electric's own, in Rust: durable-streams/durable-streams.
    "durable-streams": ("0.1.5", "durable-streams-server"),
    # Another in Rust, by somebody else: thesampaton/durable-streams-rust.
    "durable-streams-server": ("0.3.0", "durable-streams-server"),
}
"""Crate → version, program."""


def server(crate: str) -> Path:
    """The program of a crate. SystemExit where it cannot be built."""
    version, name = SERVERS[crate]
    folder = ROOT / "build" / f"cargo-{crate}-{version}"
    program = folder / "bin" / name
    if program.is_file():
        return program
    cargo = shutil.which("cargo")
    if cargo is None:
        raise SystemExit(
            f"`make test-all` runs the tests on {crate} too, which takes cargo: install Rust, or `make test`"
        )
    say(f"Building {crate} {version} below {folder} (minutes, once)")
    try:
        run([cargo, "install", crate, "--version", version, "--locked", "--root", str(folder)])
    except Failed as problem:
        raise SystemExit(f"cargo could not build {crate} ({problem})") from None
    return program


if __name__ == "__main__":
    for each in SERVERS:
        print(server(each))
