"""What nodes write to the stream themselves, told where they write it, whatever the caller asked for.

LangGraph hands each node a `Runtime`, whose `stream_writer` every way of writing leads to, and makes each graph's by
merging it into the one in the config that the graph was called with. So one of our own there stands above them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from langgraph.config import get_config
from langgraph.runtime import Runtime

Tell = Callable[[tuple[str, ...], Any], None]
"""Given the namespace of the graph that writes, and what it writes."""


@dataclass(frozen=True, kw_only=True)  # pyright: ignore[reportGeneralTypeIssues]  -- Runtime is frozen too
class Told(Runtime[Any]):
    """The runtime of a call, and of every subgraph in it, whose nodes' writing is told."""

    tell: Tell

    @classmethod
    def of(cls, given: Any, store: Any, tell: Tell) -> Told:
        """In place of what the call's config holds, if that is not None: LangGraph takes its store from there."""
        if given is None:
            given = Runtime(store=store)
        elif not isinstance(given, Runtime):  # a server's, of which LangGraph itself takes no more
            given = Runtime(context=getattr(given, "context", None), store=getattr(given, "store", None))
        return cls._made(given, _telling(tell, given.stream_writer), tell)

    @classmethod
    def _made(cls, like: Runtime[Any], writer: Callable[[Any], None], tell: Tell) -> Told:
        parts: dict[str, Any] = {field.name: getattr(like, field.name) for field in fields(Runtime)}
        parts |= {"stream_writer": writer, "tell": tell}
        return cls(**parts)

    def merge(self, other: Runtime[Any]) -> Told:
        merged = super().merge(other)
        writer = merged.stream_writer
        if writer is not self.stream_writer:  # which tells, and is handed on where the call asks for subgraphs
            writer = _telling(self.tell, writer)
        return self._made(merged, writer, self.tell)


def _telling(tell: Tell, writer: Callable[[Any], None]) -> Callable[[Any], None]:
    def write(data: Any) -> None:
        tell(_here(), data)
        writer(data)

    return write


def _here() -> tuple[str, ...]:
    """The namespace of the graph whose node the calling code is, as LangGraph itself finds it."""
    try:
        named = get_config().get("configurable") or {}
    except RuntimeError:
        return ()  # a thread, or (Python 3.10) a task, without the node's context
    return tuple(str(named.get("checkpoint_ns") or "").split("|")[:-1])
