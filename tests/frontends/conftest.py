"""Where a package that only the default environment has is not installed, what is about it is not collected."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("ag_ui") is not None else ["test_frontends_translate.py"]
