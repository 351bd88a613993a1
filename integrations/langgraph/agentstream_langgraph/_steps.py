"""What a saver does, once: generators over operations, which `StreamSaver` drives in both ways."""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_metadata,
)

from agentstream import AsyncClient, Client
from agentstream.adapters import Change, Hold, Steps, fork, session_ids, tell
from agentstream_langgraph._arriving import no_turn, puts
from agentstream_langgraph._chains import Built
from agentstream_langgraph._forms import typed_of
from agentstream_langgraph._index import BRANCHES, Stored
from agentstream_langgraph._lists import Decoder, Encoder
from agentstream_langgraph._names import session_of, thread_of
from agentstream_langgraph._nodes import is_run, run_of, tasks
from agentstream_langgraph._people import events_of
from agentstream_langgraph._records import checkpoint_event, checkpoint_of, write_event
from agentstream_langgraph._thread import Numbers, Thread

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.serde.base import SerializerProtocol

T = TypeVar("T")

UPDATED = "~__interrupt__, "
"""What the paths of tasks begin with that `update_state` writes for."""

KEPT_THREADS = 256
"""Threads whose log is kept folded; others are read again."""


class _Threads:
    """The threads of one client, shared by all copies of a saver (`with_allowlist` makes some)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: OrderedDict[str, Thread] = OrderedDict()

    def get(self, client: Client | AsyncClient, session: str, thread: str, fence: bool) -> Thread:
        with self._lock:
            found = self._threads.get(session)
            if found is None:
                found = self._threads[session] = Thread(client, session, thread, fence=fence)
            self._threads.move_to_end(session)
            while len(self._threads) > KEPT_THREADS:
                self._threads.popitem(last=False)
            return found


class SaverSteps(BaseCheckpointSaver[str]):
    """See `StreamSaver`."""

    def __init__(
        self,
        client: Client | AsyncClient,
        *,
        prefix: str = "langgraph",
        serde: SerializerProtocol | None = None,
        verify: Literal["recent", "full"] = "recent",
        fence: bool = True,
    ) -> None:
        super().__init__(serde=serde)
        if not isinstance(client, (Client, AsyncClient)):
            raise TypeError(f"a StreamSaver takes a Client or an AsyncClient, not {client!r}")
        if verify not in ("recent", "full"):
            raise ValueError(f"verify is 'recent' or 'full', not {verify!r}")
        session_of(prefix, "0")  # says what is wrong with it
        self._client = client
        self._prefix = prefix
        self._full = verify == "full"
        self._fence = fence
        self._threads = _Threads()

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A number and chance: two branches never give the same version to different values."""
        number = current if isinstance(current, int) else int(str(current).split(".")[0]) if current else 0
        return f"{number + 1:032}.0.{random.getrandbits(32):016}"

    # --- what the methods do ------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client | AsyncClient:
        """Whose sessions its threads are."""
        return self._client

    @property
    def prefix(self) -> str:
        """What the ids of its sessions begin with."""
        return self._prefix

    @property
    def encrypts(self) -> bool:
        """Whether its serializer does: then nothing is said in clear."""
        return "+" in self.serde.dumps_typed("")[0]

    def thread(self, thread_id: str) -> Thread:
        """A thread as this saver knows it."""
        return self._thread(thread_id)

    def _thread(self, thread_id: str) -> Thread:
        return self._threads.get(self._client, session_of(self._prefix, thread_id), thread_id, self._fence)

    def _encoder(self, thread: Thread, hold: Hold, first: int) -> Encoder:
        return Encoder(thread.known, self.serde, hold.number, first, full=self._full, rules=hold.rules)

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        in_loop: bool,
    ) -> Steps[RunnableConfig]:
        thread_id, ns, parent = _addressed(config)
        thread = self._thread(thread_id)
        said: dict[str, Any] = dict(get_checkpoint_metadata(config, metadata))
        whole: dict[str, Any] = dict(checkpoint)
        id = whole["id"]

        def build(hold: Hold, numbers: Numbers) -> tuple[list[Change], int]:
            encoder = self._encoder(thread, hold, numbers.item)
            number = f"{hold.number}.c{numbers.event}"
            thread.sends.held(ns, id, whole["channel_values"])
            event = checkpoint_event(encoder, thread.known, ns, parent, whole, said, dict(new_versions), number)
            return [*encoder.changes(), event], encoder.next

        tip, put = (parent or "", id) if ns == "" else (_root(said.get("parents")), None)
        built = Built(tip, put, said.get("source") in BRANCHES, (ns, id))
        try:
            if put is not None and not built.branch:
                tasks.going_on(thread, tip)
            yield from thread.append(built, build, in_loop=in_loop)
        except BaseException:
            thread.arrivals.failed()
            raise
        return _config(thread_id, ns, id)

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str, in_loop: bool
    ) -> Steps[None]:
        thread_id, ns, checkpoint = _addressed(config)
        if checkpoint is None:
            raise ValueError(f"writes belong to a checkpoint: thread {thread_id!r}, no checkpoint_id in the config")
        thread = self._thread(thread_id)
        ended: dict[str, dict[str, Any]] = {}
        """The step that these writes are, by its key."""

        def build(hold: Hold, numbers: Numbers) -> tuple[list[Change], int]:
            encoder = self._encoder(thread, hold, numbers.item)
            in_clear = not self.encrypts
            node = thread.node(hold, ns, checkpoint, writes, task_path) if in_clear else None
            event = write_event(encoder, thread.known, ns, checkpoint, writes, task_id, task_path, numbers.event, node)
            turn()  # whoever is next needs the lock that this is called under
            ended.clear()  # it may be built again, under another claim
            if node is not None:
                ended[event[1]] = node
            number = f"{hold.number}.w{numbers.event}"
            said = events_of(thread.index, ns, checkpoint, task_id, writes, number) if in_clear else []
            told = [(kind, key, hold.rules.event(kind, value)) for kind, key, value in said]
            return [*encoder.changes(), event, *told], encoder.next

        tip = checkpoint if ns == "" else _root(_configurable(config).get("checkpoint_map"))
        run, channels = run_of(tip, task_id), [channel for channel, _ in writes]
        yield from tasks.ending(thread, run, tip, channels, in_loop=in_loop)
        at_work = bool(task_path) and puts(config)  # a node is told of after what it was given
        turn = (yield from thread.turn((ns, checkpoint))) if at_work else no_turn
        try:
            yield from thread.append(Built(tip, None, task_path.startswith(UPDATED)), build, in_loop=in_loop)
        finally:
            turn()
        for key, node in ended.items():
            tell(self._client, thread.session, key, node)

    def _get_tuple(self, config: RunnableConfig, in_loop: bool) -> Steps[CheckpointTuple | None]:
        thread_id, ns, id = _addressed(config)
        thread = self._thread(thread_id)
        runs = is_run(config)
        if runs:
            tasks.loaded(thread.session)
            thread.arrivals.began(in_loop=in_loop)
        yield from thread.refresh()
        with thread.lock:
            stored = thread.index.find(ns, id)
            if ns == "" and (stored is not None or id is None):
                thread.chains.loaded(stored.id if stored else "", thread.index.size, named=id is not None, runs=runs)
        return None if stored is None else self._tuple(thread, thread_id, stored, self._decoder(thread), config)

    def _decoder(self, thread: Thread) -> Decoder:
        return Decoder(thread.index, self.serde.loads_typed)

    def _tuple(
        self, thread: Thread, thread_id: str, stored: Stored, decoder: Decoder, given: RunnableConfig | None = None
    ) -> CheckpointTuple:
        loads = self.serde.loads_typed
        with thread.lock:
            checkpoint: Any = checkpoint_of(stored, decoder, loads)
            writes = thread.index.pending(stored.place)
            pending: list[PendingWrite] = [(write.task, write.channel, decoder.value(write.form)) for write in writes]
            if given is not None:
                decoder.keep(thread.known, stored)
                thread.sends.held(stored.ns, stored.id, checkpoint["channel_values"])
        config = given if given is not None and _configurable(given).get("checkpoint_id") else None
        parent = _config(thread_id, stored.ns, stored.parent) if stored.parent is not None else None
        return CheckpointTuple(
            config or _config(thread_id, stored.ns, stored.id),
            checkpoint,
            loads(typed_of(stored.head["metadata"])),
            parent,
            pending,
        )

    def _listed(
        self, config: RunnableConfig | None, before: RunnableConfig | None
    ) -> Steps[list[tuple[Thread, str, list[Stored]]]]:
        """The checkpoints to look at, by thread, the newest first."""
        ids = yield from self._ids(config)
        ns, only = (_configurable(config).get(name) for name in ("checkpoint_ns", "checkpoint_id"))
        limit = _configurable(before).get("checkpoint_id")
        found: list[tuple[Thread, str, list[Stored]]] = []
        for thread_id in ids:
            thread = self._thread(thread_id)
            yield from thread.refresh()
            with thread.lock:
                spaces = thread.index.by_ns if ns is None else {ns: thread.index.by_ns.get(ns, {})}
                stored = [
                    one
                    for space in spaces.values()
                    for one in space.values()
                    if (only is None or one.id == only) and (limit is None or one.id < limit)
                ]
            found.append((thread, thread_id, sorted(stored, key=_id, reverse=True)))
        return found

    def _ids(self, config: RunnableConfig | None) -> Steps[list[str]]:
        if config is not None:
            return [_addressed(config)[0]]
        sessions = yield from session_ids(self._client, f"{self._prefix}/")
        return [
            thread_id for thread_id in (thread_of(self._prefix, name) for name in sessions) if thread_id is not None
        ]

    def _chosen(
        self, found: list[tuple[Thread, str, list[Stored]]], filter: dict[str, Any] | None, limit: int | None
    ) -> Iterator[CheckpointTuple]:
        left = limit
        for thread, thread_id, stored in found:
            decoder = self._decoder(thread)
            for one in stored:
                if left is not None and left <= 0:
                    return
                if filter:
                    metadata = self.serde.loads_typed(typed_of(one.head["metadata"]))
                    if any(metadata.get(name) != wanted for name, wanted in filter.items()):
                        continue
                left = None if left is None else left - 1
                yield self._tuple(thread, thread_id, one, decoder)

    def _delete(self, thread_id: str) -> Steps[None]:
        yield from self._thread(thread_id).delete()

    def _forget(self, thread: Thread, stored: list[Stored], in_loop: bool) -> Steps[None]:
        """Takes checkpoints away from their thread. What others are made of stays in the log."""
        places = [list(one.place) for one in stored]

        def build(hold: Hold, numbers: Numbers) -> tuple[list[Change], int]:
            return [("checkpoint", f"{hold.number}.f{numbers.event}", {"forget": places})], numbers.item

        if places:
            yield from thread.append(Built("", None, True), build, in_loop=in_loop)

    def _delete_for_runs(self, run_ids: Sequence[str], in_loop: bool) -> Steps[None]:
        wanted = set(run_ids)
        if not wanted:
            return
        for thread, _, stored in (yield from self._listed(None, None)):
            metadata = ((one, self.serde.loads_typed(typed_of(one.head["metadata"]))) for one in stored)
            gone = [one for one, said in metadata if said.get("run_id") in wanted]
            yield from self._forget(thread, gone, in_loop)

    def _copy(self, source: str, target: str) -> Steps[None]:
        yield from fork(self._client, session_of(self._prefix, source), session_of(self._prefix, target))

    def _prune(self, thread_ids: Sequence[str], strategy: str, in_loop: bool) -> Steps[None]:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"prune's strategy is 'keep_latest' or 'delete', not {strategy!r}")
        for thread_id in thread_ids:
            thread = self._thread(str(thread_id))
            if strategy == "delete":
                yield from thread.delete()
                continue
            yield from thread.refresh()
            with thread.lock:
                spaces = [space for space in thread.index.by_ns.values() if space]
                gone = [one for space in spaces for id, one in space.items() if id != max(space)]
            yield from self._forget(thread, gone, in_loop)

    def _delta_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Steps[Mapping[str, DeltaChannelHistory]]:
        """One walk up the parents for all channels: the nearest value, and the writes since, its own included."""
        if not channels:
            return {}
        thread_id, ns, id = _addressed(config)
        thread = self._thread(thread_id)
        yield from thread.refresh()
        writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        decoder = self._decoder(thread)
        with thread.lock:
            target = thread.index.find(ns, id)
            for above in thread.index.ancestors(target) if target is not None else ():
                open_ = [channel for channel in writes if channel not in seeds]
                if not open_:
                    break
                decoder.begin()
                for write in reversed(thread.index.pending(above.place)):
                    if write.channel in open_:
                        writes[write.channel].append((write.task, write.channel, decoder.value(write.form)))
                for channel in open_:
                    if channel in above.forms:
                        seeds[channel] = decoder.value(above.forms[channel])
        found: dict[str, DeltaChannelHistory] = {}
        for channel in channels:
            found[channel] = {"writes": writes[channel][::-1]}
            if channel in seeds:
                found[channel]["seed"] = seeds[channel]
        return found


def _addressed(config: RunnableConfig) -> tuple[str, str, str | None]:
    """Thread, namespace and checkpoint that a config names. Raises ValueError without a thread."""
    named = _configurable(config)
    thread_id = named.get("thread_id")
    if thread_id is None:
        raise ValueError('a config names its thread: {"configurable": {"thread_id": …}}')
    return str(thread_id), named.get("checkpoint_ns") or "", named.get("checkpoint_id") or None


def _configurable(config: RunnableConfig | None) -> dict[str, Any]:
    return (config or {}).get("configurable") or {}


def _config(thread_id: str, ns: str, id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": id}}


def _root(parents: Any) -> str:
    """The root checkpoint that a subgraph works under, by a mapping of namespaces to ids."""
    root = parents.get("") if isinstance(parents, Mapping) else None
    return root if isinstance(root, str) else ""


def _id(stored: Stored) -> str:
    return stored.id
