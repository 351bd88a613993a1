"""What a graph does, told to its thread's session while it does it: nodes, model and tool calls as steps, tokens as
deltas. From LangChain's callbacks, which come in the thread or loop that works; nothing here waits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langchain_core.utils.utils import LC_ID_PREFIX
from langgraph.callbacks import GraphCallbackHandler, GraphInterruptEvent
from langgraph.constants import TAG_HIDDEN, TAG_NOSTREAM
from langgraph.errors import GraphInterrupt
from langgraph.pregel._messages import StreamMessagesHandler  # pyright: ignore[reportPrivateUsage]

from agentstream import AgentStreamError
from agentstream_langgraph._people import error_of, form, question_of

if TYPE_CHECKING:
    from agentstream.adapters import Deltas, Hold, Watched


class Telling(StreamMessagesHandler, GraphCallbackHandler):
    """The callbacks of one invocation. (Of LangGraph's own streaming handler it is only that: models stream for it, and
    it is known to look at all subgraphs.)"""

    def __init__(
        self, hold: Hold, run: str, attempts: dict[tuple[str, str, int], int], watched: Watched | None
    ) -> None:
        super().__init__(lambda _: None, True)
        self.questions: list[str] = []
        self.interrupted = False
        self._hold = hold
        self._run = run
        self._attempts = attempts
        self._watched = watched
        self._open: dict[UUID, str] = {}
        """Of what goes on, the key of its step."""
        self._working: dict[UUID, str] = {}
        """The nodes among them, and their task."""
        self._calls: dict[str, int] = {}
        self._said: dict[UUID, Deltas] = {}
        self._told_by: dict[UUID, str] = {}
        """Of a model call, which of the two ways tells its tokens: some models go both."""
        self._targets: dict[tuple[UUID, int], str] = {}
        self._custom = 0
        self._lock = threading.Lock()

    # --- nodes -------------------------------------------------------------------------------------------------------

    def on_chain_start(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        node = (metadata or {}).get("langgraph_node")
        if metadata is None or node is None or kwargs.get("name") != node or TAG_HIDDEN in (tags or ()):
            return
        task = _task(metadata)
        with self._lock:
            if task in self._working.values():
                return  # a part of the node that is named as it is
            self._working[run_id] = task
            self._calls[task] = 0
        self._begin(run_id, metadata, 0, "node", node)

    def on_chain_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._end(run_id, {"result": None})

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._failed(run_id, error)

    def on_interrupt(self, event: GraphInterruptEvent) -> None:
        self.interrupted = True
        self.questions = [question_of(interrupt) for interrupt in event.interrupts]

    # --- models ------------------------------------------------------------------------------------------------------

    def on_chat_model_start(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        serialized: Any,
        messages: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._model(run_id, tags, metadata, kwargs.get("name"))

    def on_llm_start(
        self,
        serialized: Any,
        prompts: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._model(run_id, tags, metadata, kwargs.get("name"))

    def _model(self, run_id: UUID, tags: Any, metadata: dict[str, Any] | None, name: Any) -> None:
        told = metadata or {}
        self._call(run_id, told, "model", str(told.get("ls_model_name") or name or "model"))
        key = self._open.get(run_id)
        if key is not None and TAG_NOSTREAM not in (tags or ()):
            self._said[run_id] = self._hold.deltas(key, int(key.rpartition("#")[2]))

    def on_llm_new_token(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        if self._told_by.setdefault(run_id, "token") != "token":
            return
        if isinstance(chunk, ChatGenerationChunk):
            self._say(run_id, chunk.message)
        elif isinstance(token, str):
            self._feed(run_id, _message(run_id), token)

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        if self._told_by.setdefault(run_id, "event") != "event":
            return
        if event.get("event") == "message-start":
            self._targets[run_id, -1] = event.get("message_id") or event.get("id") or _message(run_id)
            return
        target = self._targets.get((run_id, -1)) or _message(run_id)
        block = event.get("content_block") or event.get("content") or {}
        delta = event.get("delta") or {}
        if event.get("event") == "content-block-start" and block.get("id"):
            self._targets[run_id, event.get("index", 0)] = block["id"]
            self._feed(run_id, block["id"], "", "args", block.get("name"), target)
        if event.get("event") != "content-block-delta":
            return
        kind, index = str(delta.get("type") or block.get("type") or ""), event.get("index", 0)
        if kind.startswith("text"):
            self._feed(run_id, target, delta.get("text"))
        elif kind.startswith("reasoning"):
            self._feed(run_id, target, delta.get("reasoning") or delta.get("text"), "reasoning")
        elif "args" in delta or "fields" in delta:
            args = delta.get("args") or (delta.get("fields") or {}).get("args")
            self._feed(run_id, self._targets.get((run_id, index), target), args, "args", None, target)

    def _say(self, run_id: UUID, message: BaseMessage) -> None:
        target = message.id or _message(run_id)
        content: Any = message.content
        for block in [content] if isinstance(content, str) else content:
            if isinstance(block, str):
                self._feed(run_id, target, block)
            elif isinstance(block, dict):
                self._feed(run_id, target, block.get("text"))
                self._feed(run_id, target, block.get("reasoning") or block.get("thinking"), "reasoning")
        for call in getattr(message, "tool_call_chunks", None) or ():
            place = (run_id, call.get("index") or 0)
            if call.get("id"):
                self._targets[place] = call["id"]
            self._feed(
                run_id, self._targets.get(place, target), call.get("args") or "", "args", call.get("name"), target
            )

    def _feed(
        self, run_id: UUID, target: str, text: Any, kind: str = "text", name: Any = None, message: str | None = None
    ) -> None:
        said = self._said.get(run_id)
        if said is not None and isinstance(text, str) and (text or name):
            self._soon(lambda: said.feed(target, text, kind, name, message))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        made = response.generations[0][0] if response.generations and response.generations[0] else None
        usage = getattr(made.message, "usage_metadata", None) if isinstance(made, ChatGeneration) else None
        counts = {name: count for name, count in (usage or {}).items() if isinstance(count, int)}
        self._end(run_id, {"result": None, **({"usage": counts} if counts else {})})

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._failed(run_id, error)

    # --- tools -------------------------------------------------------------------------------------------------------

    def on_tool_start(
        self, serialized: Any, input_str: Any, *, run_id: UUID, metadata: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        name = kwargs.get("name") or (serialized or {}).get("name") or "tool"
        self._call(run_id, metadata or {}, "tool", str(name))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, {"result": None})

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._failed(run_id, error)

    # --- writing -----------------------------------------------------------------------------------------------------

    def custom(self, ns: tuple[str, ...], data: Any) -> None:
        """What a node writes to the stream itself."""
        with self._lock:
            self._custom += 1
            number = self._custom
        key = "/".join([self._run, *(["|".join(ns)] if ns else []), f"c{self._hold.number}.{number}"])
        self._put("custom", key, {"data": form(data)})

    def _call(self, run_id: UUID, metadata: dict[str, Any], kind: str, name: str) -> None:
        task = _task(metadata)
        with self._lock:
            self._calls[task] = ordinal = self._calls.get(task, 0) + 1
        self._begin(run_id, metadata, ordinal, kind, name)

    def _begin(self, run_id: UUID, metadata: dict[str, Any], ordinal: int, kind: str, name: str) -> None:
        task = _task(metadata)
        identity = (self._run, task, ordinal)
        with self._lock:
            self._attempts[identity] = attempt = self._attempts.get(identity, 0) + 1
            key = self._open[run_id] = f"{self._run}/{task}/{ordinal}#{attempt}"
        self._put("step", key, {"kind": kind, "name": name, "input": None, "fingerprint": ""})
        if self._watched is not None:
            above = task if kind != "node" else _task(metadata, 1)
            self._watched.began(key, task, above, kind, name, metadata.get("ls_provider"))

    def _end(self, run_id: UUID, value: dict[str, Any]) -> None:
        key = self._closed(run_id)
        if key is not None:
            self._put("outcome", key, value)
            self._watch_end(key, value)

    def _failed(self, run_id: UUID, error: BaseException) -> None:
        key = self._closed(run_id)
        if key is None:
            return
        value = {"error": error_of(error)} if not isinstance(error, GraphInterrupt) else None
        if value is not None:
            self._put("outcome", key, value)
        self._watch_end(key, value)

    def _watch_end(self, key: str, value: dict[str, Any] | None) -> None:
        if self._watched is not None:
            self._watched.ended(key, value)

    def _closed(self, run_id: UUID) -> str | None:
        said = self._said.pop(run_id, None)
        if said is not None:
            self._soon(said.end)
        with self._lock:
            self._working.pop(run_id, None)
            self._told_by.pop(run_id, None)
            for place in [place for place in self._targets if place[0] == run_id]:
                del self._targets[place]
            return self._open.pop(run_id, None)

    def _put(self, kind: str, key: str, value: dict[str, Any]) -> None:
        self._soon(lambda: self._hold.put_soon((kind, key, self._hold.rules.event(kind, value))))

    def _soon(self, put: Any) -> None:
        try:
            put()
        except AgentStreamError:
            return  # the saver's next append says so, where it stops the graph


def _task(metadata: dict[str, Any], up: int = 0) -> str:
    """The task that something goes on in; `up`: the one so many graphs above it."""
    path = str(metadata.get("langgraph_checkpoint_ns") or "").split("|")
    return path[-1 - up].rpartition(":")[2] or "0" if up < len(path) else "0"


def _message(run_id: UUID) -> str:
    """The id that LangChain gives to a message whose provider gave none."""
    return f"{LC_ID_PREFIX}-{run_id}"
