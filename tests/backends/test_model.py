"""The engine against a list in memory: any sequence of operations, any place to read, two backends of one store."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from agentstream.backends.base import List
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.errors import SequenceGap, StaleEpoch, StreamClosed, StreamConflict, StreamGone
from agentstream.protocol.operations import START, Append, Create, Delete, ForkPoint, Head, Producer, Read

messages = st.one_of(
    st.integers(-(10**40), 10**40).map(lambda number: b"%d" % number),
    st.text(max_size=20).map(lambda text: ('"' + text.encode("unicode_escape").hex() + '"').encode()),
    st.integers(1, 6000).map(lambda size: b'"%b"' % (b"x" * size)),
    st.sampled_from([b"1.0", b"[]", b'{"a" : [1,2]}', b"null", '"é"'.encode()]),
)
bodies = st.lists(messages, min_size=1, max_size=5).map(tuple)


@dataclass
class Model:
    messages: list[bytes] = field(default_factory=list)
    closed: bool = False
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    source: str | None = None
    forks: int = 0
    deleted: bool = False


class Store(RuleBasedStateMachine):
    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Model] = {}
        self.made = 0
        self.open()

    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        # Two backends stand for two processes: what one writes makes stale what the other remembers.
        self.backends = [EmbeddedBackend(self.folder / "store"), EmbeddedBackend(self.folder / "store")]

    def teardown(self) -> None:
        for backend in self.backends:
            backend.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def backend(self, which: int) -> EmbeddedBackend:
        return self.backends[which % len(self.backends)]

    @rule(target=streams, body=bodies | st.just(()), which=st.integers(0, 1))
    def create(self, body: tuple[bytes, ...], which: int) -> str:
        path = f"s{self.made}"
        self.made += 1
        created = self.backend(which).execute(Create(path, body))
        assert created.new
        self.models[path] = Model(list(body))
        return path

    @rule(target=streams, path=streams, body=bodies | st.just(()), cut=st.integers(0, 40), which=st.integers(0, 1))
    def fork(self, path: str, body: tuple[bytes, ...], cut: int, which: int) -> object:
        model, new = self.models.get(path), f"s{self.made}"
        if model is None:
            return multiple()
        self.made += 1
        cut = min(cut, len(model.messages))
        fork = Create(new, body, fork=ForkPoint(path, START, cut))
        if model.deleted:
            with pytest.raises(StreamConflict):
                self.backend(which).execute(fork)
            return multiple()
        assert self.backend(which).execute(fork).new
        model.forks += 1
        self.models[new] = Model(model.messages[:cut] + list(body), source=path)
        return new

    @rule(path=streams, body=bodies, which=st.integers(0, 1), close=st.integers(0, 9).map(lambda n: n == 0))
    def append(self, path: str, body: tuple[bytes, ...], which: int, close: bool) -> None:
        self.attempt(path, Append(path, body, close=close), which)

    @rule(
        path=streams,
        body=bodies,
        which=st.integers(0, 1),
        name=st.sampled_from("pq"),
        epoch=st.integers(0, 2),
        step=st.integers(-1, 2),
    )
    def produce(self, path: str, body: tuple[bytes, ...], which: int, name: str, epoch: int, step: int) -> None:
        model = self.models.get(path)
        if model is None or model.deleted:
            return
        known = model.producers.get(name)
        if known is not None and epoch == known[0]:
            seq = max(0, known[1] + step)
        else:
            seq = 0 if known is not None else max(0, step)
        append = Append(path, body, producer=Producer(name, epoch, seq))
        if known is not None and known[0] == epoch and seq <= known[1]:
            assert self.backend(which).execute(append).duplicate
        elif known is not None and epoch < known[0]:
            with pytest.raises(StaleEpoch):
                self.backend(which).execute(append)
        elif model.closed:
            self.attempt(path, append, which)
        elif seq != (known[1] + 1 if known is not None and known[0] == epoch else 0):
            with pytest.raises(SequenceGap):
                self.backend(which).execute(append)
        else:
            self.attempt(path, append, which)
            model.producers[name] = (epoch, seq)

    def attempt(self, path: str, append: Append, which: int) -> None:
        model = self.models.get(path)
        if model is None:
            return
        if model.deleted:
            with pytest.raises(StreamGone):
                self.backend(which).execute(append)
        elif model.closed:
            with pytest.raises(StreamClosed):
                self.backend(which).execute(append)
        else:
            appended = self.backend(which).execute(append)
            assert not appended.duplicate
            model.messages += append.body
            model.closed = append.close
            assert appended.offset == self.backend(which).execute(Head(path)).offset

    @rule(path=consumes(streams), which=st.integers(0, 1))
    def delete(self, path: str, which: int) -> None:
        model = self.models.get(path)
        if model is None or model.deleted:
            return
        self.backend(which).execute(Delete(path))
        if model.forks:
            model.deleted = True
            return
        while True:
            del self.models[path]
            if model.source is None:
                return
            path = model.source
            model = self.models[path]
            model.forks -= 1
            if model.forks or not model.deleted:
                return

    @rule(path=streams, position=st.integers(0, 60), limit=st.integers(1, 9) | st.none(), which=st.integers(0, 1))
    def read(self, path: str, position: int, limit: int | None, which: int) -> None:
        model = self.models.get(path)
        if model is None or model.deleted:
            return
        batch = self.backend(which).execute(Read(path, skip=position, limit=limit))
        assert list(batch.messages) == model.messages[position:][:limit]
        if batch.messages:
            end = position + len(batch.messages)
            assert batch.up_to_date == (end == len(model.messages))
            assert batch.closed == (batch.up_to_date and model.closed)
            rest = self.backend(which).execute(Read(path, batch.offset))
            assert list(rest.messages) == model.messages[end:]

    @invariant()
    def everything_is_there(self) -> None:
        backend = self.backends[0]
        living = {path: model for path, model in self.models.items() if not model.deleted}
        listed = {one.path: (one.size, one.closed) for one in backend.execute(List())}
        assert listed == {path: (len(model.messages), model.closed) for path, model in living.items()}
        for path, model in living.items():
            assert list(backend.execute(Read(path)).messages) == model.messages


class DiskStore(Store):
    @rule()
    def reopen(self) -> None:
        self.backends.pop(0).close()
        self.backends.append(EmbeddedBackend(self.folder / "store"))


class MemoryStore(Store):
    def open(self) -> None:
        self.folder = Path()
        self.backends = [EmbeddedBackend(None)]

    def teardown(self) -> None:
        self.backends[0].close()


TestDiskStore = DiskStore.TestCase
TestMemoryStore = MemoryStore.TestCase
TestDiskStore.settings = settings(max_examples=40, stateful_step_count=30)
TestMemoryStore.settings = settings(max_examples=60, stateful_step_count=40)
