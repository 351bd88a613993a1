"""The page's own files: those that were built, by name, and no others."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "static"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}


def names() -> dict[str, Path]:
    """The files by the paths that they are served at; nothing outside the folder, whatever is asked for."""
    found = (path for path in FOLDER.rglob("*") if path.is_file() and path.suffix in _TYPES)
    return {"/" + path.relative_to(FOLDER).as_posix(): path for path in found}


def file_at(path: str) -> tuple[str, bytes] | None:
    """The media type and content of a file; None where there is none. The page is at `/`."""
    found = names().get("/index.html" if path == "/" else path)
    return (_TYPES[found.suffix], found.read_bytes()) if found is not None else None
