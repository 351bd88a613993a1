"""Where in the user's code a call is made.

Frames of this library, of integrations, of what is installed and of Python itself are passed over. Whose a file is is
found out once: a step is told its place for less than two microseconds.
"""

from __future__ import annotations

import os
import sys
from pathlib import PurePath
from types import FrameType

_PYTHON = os.path.dirname(os.__file__) + os.sep
_INSTALLED = ("site-packages", "dist-packages", "<frozen")

_files: dict[str, str | None] = {}
"""How each file that was met is told; None for those that are not the user's."""


def calling_place() -> str | None:
    """`package/module.py:line in function` of the user's innermost frame: the file from its package's folder on, as it
    is on every machine. None where there is no such frame (a task begun by a library)."""
    frame = calling_frame(sys._getframe(1))
    if frame is None:
        return None
    code = frame.f_code
    return f"{_files[code.co_filename]}:{frame.f_lineno} in {code.co_name}"


def calling_code() -> str | None:
    """As `calling_place`, with the file's whole path on this machine."""
    frame = calling_frame(sys._getframe(1))
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame is not None else None


def calling_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame from this one outwards that is the user's."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file not in _files:
            _files[file] = _told(frame)
        if _files[file] is not None:
            return frame
        frame = frame.f_back
    return None


def raised_at(error: BaseException) -> str | None:
    """`file:line in function` of the innermost frame of an error's trace that is the user's; where none is, of the
    innermost that is not of this library."""
    trace = error.__traceback__
    users = others = None
    while trace is not None:
        frame = trace.tb_frame
        if not str(frame.f_globals.get("__name__", "")).startswith("agentstream"):
            others = f"{frame.f_code.co_filename}:{trace.tb_lineno} in {frame.f_code.co_name}"
            users = others if _told(frame) is not None else users
        trace = trace.tb_next
    return users or others


def _told(frame: FrameType) -> str | None:
    file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
    package = module.partition(".")[0]
    if package == "agentstream" or package.startswith("agentstream_"):
        return None
    if file.startswith(_PYTHON) or any(part in file for part in _INSTALLED):
        return None
    path = PurePath(file)
    length = module.count(".") + (2 if path.stem == "__init__" else 1)
    return "/".join(path.parts[-length:])
