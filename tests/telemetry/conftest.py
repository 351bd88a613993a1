"""Spans are looked at through the SDK, which only the default environment has."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("opentelemetry.sdk") is not None else ["test_telemetry.py"]
