"""httpx or its continuation httpx2: one API, two packages; errors of one are not errors of the other."""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from typing import Any

NAMES = ("httpx2", "httpx")
"""The newer first: it is used where it is installed."""


@lru_cache(maxsize=1)
def own() -> Any:
    """The package of which this library makes its own clients."""
    name = next(name for name in NAMES if importlib.util.find_spec(name) is not None)
    return importlib.import_module(name)


def of_client(client: Any) -> tuple[Any, bool]:
    """The package of a client that was handed in, and whether it is an async one; TypeError for anything else."""
    for kind in type(client).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in NAMES and kind.__name__ in ("Client", "AsyncClient"):
            return importlib.import_module(name), kind.__name__ == "AsyncClient"
    raise TypeError(
        f"http_client= is a Client or AsyncClient of httpx or httpx2, not {type(client).__module__}."
        f"{type(client).__qualname__}"
    )
