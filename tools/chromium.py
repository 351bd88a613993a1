"""A Chromium for the tests of the inspector's page: the machine's own, else Debian's package.

As a program: sees to one where it can, and says where it cannot; the browser's tests then fail with that.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from running import Failed, answers, run, say

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = "no Chromium was found: `python tools/chromium.py` installs Debian's as root, else put one on PATH"


def found() -> Path | None:
    """A browser that is there and starts, or None."""
    for name in NAMES:
        place = shutil.which(name)
        if place is not None and answers([place, "--version"]) is not None:
            return Path(place)
    return None


def chromium() -> Path | None:
    """A browser that was there, or that could be installed: as root, where packages are Debian's. Else None."""
    place = found()
    if place is not None or os.name != "posix" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return place
    say("Installing Debian's Chromium for the tests of the inspector's page (a minute or so, once)")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "update", "-q"], **quiet)
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"], **quiet)
    except Failed as problem:
        say(f"Chromium could not be installed ({problem})")
    return found()


if __name__ == "__main__":
    if chromium() is None:
        say(f"The tests of the inspector's page will fail: {MISSING}")
