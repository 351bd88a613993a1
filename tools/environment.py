"""Makes virtual environments and installs into them, on machines that lack what that usually takes.

One ladder, tried from the top; each rung says what it does: the standard library's venv; uv or virtualenv through
whatever pip can be found (the interpreter's own, a wheel on this machine, one from the configured index); the
system's package manager. Only the standard library is used here, and no index is named: the one that pip or uv
is configured for is the one that is asked.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pips import find_pips
from running import Failed, answers, run, say

# What pip calls a setting, and the variable that tells uv the same.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}


class Environment:
    """A virtual environment in `folder`, whether it is there yet or not."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.base = python
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / "python"

    def works(self) -> bool:
        """Whether it is there, of the Python it should be, and has pip."""
        version = [self.python, "-c", "import pip, sys; print(sys.version)"]
        found = answers(version)
        return found is not None and found == answers([self.base, "-c", "import sys; print(sys.version)"])

    def make(self) -> None:
        """Makes the environment afresh, with pip in it, by the first way that works here."""
        for way, climb in self._ways():
            say(f"Making {self.folder} with {way}")
            self.remove()
            try:
                climb()
                if self.works():
                    return
                problem = "there is no usable pip in it"
            except Failed as failed:
                problem = str(failed)
            say(f"  that did not work ({problem})")
            shutil.rmtree(self.folder, ignore_errors=True)  # half made by us
        raise SystemExit(
            f"No way to make a virtual environment with {self.base} was found.\n"
            "Install Python's venv module (on Debian and Ubuntu the package python3-venv), or pip, or point the\n"
            "variable PIP_INDEX_URL at a package index; or name another Python: make setup PYTHON=python3.12"
        )

    def remove(self) -> None:
        if self.folder.exists() and not (self.folder / "pyvenv.cfg").exists() and any(self.folder.iterdir()):
            raise SystemExit(f"{self.folder} is there and is no virtual environment: move it away first")
        shutil.rmtree(self.folder, ignore_errors=True)

    def install(self, *arguments: str, constraints: Path) -> None:
        """`pip install` of `arguments`, by uv where it can be had (many times faster), by pip otherwise."""
        pinned = ["--constraint", str(constraints)]
        uv = self._uv(pinned)
        if uv is not None:
            command = [uv, "pip", "install", "--python", self.python, *pinned, "--build-constraint", constraints]
            try:
                run([*command, *arguments], **self._uv_settings())
            except Failed as problem:
                say(f"uv did not manage ({problem}); again with pip, which may take a few minutes")
            else:
                return
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        run([*pip, "--upgrade", "pip>=25.1"])  # the first pip that knows dependency groups
        run([*pip, *pinned, *arguments], PIP_CONSTRAINT=str(constraints))

    def _ways(self) -> Iterator[tuple[str, Callable[[], None]]]:
        if answers([self.base, "-c", "from venv import EnvBuilder; from ensurepip import bootstrap"]) is not None:
            yield "Python's own venv module", lambda: run([self.base, "-m", "venv", self.folder])
        else:
            say("This Python has no usable venv module (venv or ensurepip is missing)")
        for origin, pip in find_pips(self.base):
            yield f"uv, installed by {origin}", lambda pip=pip: self._make_with(pip, "uv")
            yield f"virtualenv, installed by {origin}", lambda pip=pip: self._make_with(pip, "virtualenv")
        if can_use_apt(self.base):
            yield "python3-venv, installed by apt-get (this is Debian, and you are root)", self._make_with_apt

    def _make_with(self, pip: Sequence[str], tool: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            run([*pip, "--disable-pip-version-check", "install", "--quiet", "--target", scratch, tool])
            if tool == "uv":
                make = [Path(scratch, "bin", "uv"), "venv", "--quiet", "--seed", "--python", self.base, self.folder]
                run(make, **uv_settings(answers([*pip, "config", "list"]) or ""))
            else:
                run([self.base, "-m", "virtualenv", "--quiet", self.folder], PYTHONPATH=scratch)

    def _make_with_apt(self) -> None:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], **quiet)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"], **quiet)
        run([self.base, "-m", "venv", self.folder])

    def _uv(self, pinned: Sequence[str]) -> Path | None:
        uv = self.bin / "uv"
        if not uv.exists():
            try:
                pip = [self.python, "-m", "pip", "--disable-pip-version-check"]
                run([*pip, "install", "--quiet", "--only-binary", ":all:", *pinned, "uv"])
            except Failed as problem:
                say(f"uv is not to be had here ({problem}); pip installs, which may take a few minutes")
                return None
        return uv

    def _uv_settings(self) -> dict[str, str]:
        return uv_settings(answers([self.python, "-m", "pip", "config", "list"]) or "")


def uv_settings(pip_config: str) -> dict[str, str]:
    """uv's variables for what pip is configured to use (uv reads no pip.conf); what is set for uv already stands.

    `pip_config` is the output of `pip config list`: lines such as `global.index-url='https://…'`.
    """
    # Copies, not links: a cache on another file system would only draw a warning.
    settings = {"UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy"}
    for line in pip_config.splitlines():
        name, _, text = line.partition("=")
        variable = PIP_TO_UV.get(name.rpartition(".")[2])
        if variable is None or variable in os.environ:
            continue
        try:
            value = str(ast.literal_eval(text))
        except (SyntaxError, ValueError):
            continue
        separator = "," if variable == "UV_FIND_LINKS" else " "
        settings[variable] = separator.join(value.split())
    return settings


def can_use_apt(python: str) -> bool:
    """Whether apt-get can complete this Python: it must be Debian's own, and we must be root."""
    ours = Path(python if Path(python).is_absolute() else shutil.which(python) or python).parent
    return (
        ours in (Path("/usr/bin"), Path("/bin"))
        and hasattr(os, "geteuid")
        and os.geteuid() == 0
        and bool(shutil.which("apt-get"))
    )
