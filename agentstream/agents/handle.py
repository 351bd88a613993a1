"""What a session's methods come to, inside a run of it and outside: the one core of `Session` and `AsyncSession`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from msgspec import structs

from agentstream.agents.context import current_lane, is_muted, lane_here
from agentstream.agents.options import Options
from agentstream.errors import AgentStreamError
from agentstream.sessions import answering, catalog, family, reading, settling, writing
from agentstream.sessions.cuts import At, index_in
from agentstream.sessions.events import Event, handed_out
from agentstream.sessions.family import Node
from agentstream.sessions.large import attachments_in
from agentstream.sessions.output import Output
from agentstream.sessions.questions import Question
from agentstream.sessions.state import State, fold

if TYPE_CHECKING:
    from agentstream.agents.attaching import Source
    from agentstream.agents.replay import ReplayOptions, Report
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.attachments import Attachment
    from agentstream.sessions.core import Core
    from agentstream.sessions.redaction import Redact
    from agentstream.sessions.transfer import Exported, Target

S = TypeVar("S", bound="Handle")


@dataclass(frozen=True)
class Handle:
    """Does no I/O when it is made and holds nothing but the id, the options and the client's core."""

    _core: Core
    id: str
    _options: Options = field(default_factory=Options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def with_options(
        self: S,
        *,
        run_id: str | None = None,
        take_over: bool | None = None,
        max_attempts: int | None = None,
        durability: Literal["sync", "behind"] | None = None,
    ) -> S:
        """The same session with other options for what is called on it; what is left out stays.

        - `run_id`: names the run and makes it idempotent: called again when it has finished,
          `run` returns the recorded result.
        - `take_over`: take the session from a living worker, which is then fenced.
        - `max_attempts`: how often in a row a run is begun without an outcome added (10).
        - `durability`: "behind" lets steps return up to 50 ms before they are durable, and a crash
          repeat those; a `once` step, a question and the run's end wait for all before them. "sync"
          (the default) waits each time.
        """
        changes: dict[str, Any] = {
            "run_id": run_id,
            "take_over": take_over,
            "max_attempts": max_attempts,
            "durability": durability,
        }
        changes = {name: value for name, value in changes.items() if value is not None}
        options = Options(**{**structs.asdict(self._options), **changes})  # checked, unlike by `structs.replace`
        return replace(self, _options=options)

    @property
    def _backend(self) -> Backend:
        """What is asked of the session here is executed on: the store, and nothing in a replay."""
        if lane_here() is None:
            return self._core.backend
        from agentstream.agents import opening

        return opening.backend_here(self._core.backend)

    def _known(self) -> State | None:
        """Inside a run of this session: the history that the run was begun on (a replay has no store to ask)."""
        lane = None if is_muted() else lane_here()
        return lane.worker.state if lane is not None and lane.worker.session == self.id else None

    def _start(self, known: State) -> int:
        """Where the run that the calling code is in began: at its first claim, on resume and replay too."""
        lane = current_lane()
        assert lane is not None
        worker = lane.worker
        run = worker.recorded
        number = run.start.claim if run is not None else worker.claim.number if worker.claim is not None else None
        claims = known.of_type("claim", start=known.first_of(worker.run))
        claim = next((event for event in claims if event.claim == number), None)
        return claim.index if claim is not None else run.start.index if run is not None else known.index

    def _as_begun(self) -> State | None:
        """Inside a run of this session: the session as of the run's start."""
        known = self._known()
        return known.cut(self._start(known)) if known is not None else None

    def _events(self, start: At | None, stop: At | None) -> Steps[list[Event]]:
        begun = self._as_begun()
        if begun is None:
            return (yield from reading.events(self._core, self.id, start, stop))
        first = index_in(begun, start) if start is not None else 0
        return [handed_out(event) for event in begun.events[first : index_in(begun, stop)]]

    def _state(self, at: At | None) -> Steps[State]:
        begun = self._as_begun()
        if begun is None:
            return (yield from reading.state(self._core, self.id, at))
        return begun if at is None else begun.cut(index_in(begun, at))

    def _output(self, at: At | None) -> Steps[Output]:
        return Output((yield from self._events(None, at)))

    def _follow(self, start: At | Literal["now"] | None) -> Steps[reading.Follower]:
        if self._known() is not None:
            raise AgentStreamError(
                f"session {self.id!r} cannot be followed from inside its own run, which reads as of its start; "
                "follow it outside"
            )
        return reading.begin_following(self._core, self.id, start)

    def _append(self, kind: str, value: Any, key: str | None, in_loop: bool) -> Steps[Event]:
        known = self._known()
        if known is None:
            return (yield from writing.append(self._core, self.id, kind, value, key))
        writing.check_appendable(kind, key)
        from agentstream.agents import opening

        kind, key = yield from opening.appending(kind, value, key, in_loop=in_loop)
        recorded = known.find(kind, key)
        if recorded is not None:
            return handed_out(recorded)
        return (yield from writing.read_back(self._core, self.id, kind, key))

    def _attach(self, source: Source, media_type: str | None, name: str | None, in_loop: bool) -> Steps[Attachment]:
        from agentstream.agents.attaching import attaching  # not every program does: imported when it is done

        return attaching(self._core, self.id, source, media_type, name, in_loop=in_loop)

    def _attachments(self) -> Steps[list[Attachment]]:
        return attachments_in((yield from self._events(None, None)))

    def _questions(self) -> Steps[list[Question]]:
        begun = self._as_begun()
        if begun is None:
            return (yield from answering.questions(self._core, self.id))
        return answering.open_questions(begun)

    def _answer(self, question: Question | str, value: Any, by: str | None) -> Steps[Event]:
        if self._known() is not None:
            raise AgentStreamError(f"session {self.id!r}: a run does not answer its own questions; others do")
        return (yield from answering.answer(self._core, self.id, question, value, by))

    def _replay(self, fn: Any, options: ReplayOptions, in_loop: bool) -> Steps[Report]:
        from agentstream.agents import replay, tasks  # for debugging: imported when it is done

        asked = replay.asked(**options)
        for replayer in tasks.replayers:
            steps = replayer(self, self.id, fn, asked, in_loop=in_loop)
            if steps is not None:
                return steps
        return replay.replay(self._core, self.id, fn, asked, in_loop=in_loop)

    def _resume(self, fn: Any, in_loop: bool) -> Steps[Any]:
        if not callable(fn):
            from agentstream.agents import tasks

            for resumer in tasks.resumers:
                steps = resumer(self, self.id, fn, take_over=self._options.take_over, in_loop=in_loop)
                if steps is not None:
                    if self._options.run_id is not None:
                        raise ValueError("run_id= is for an agent's runs: a graph goes on where its thread ends")
                    return steps
        from agentstream.agents import runs

        return runs.resume(self._core, self.id, self._options, fn, in_loop=in_loop)

    def _cancel(self) -> Steps[bool]:
        from agentstream.agents import runs

        return runs.cancel(self._core, self.id, self._options)

    def _export(self, file: Target, form: str, forks: bool, redact: Redact | str | bool | None) -> Steps[Exported]:
        from agentstream.sessions.transfer import export  # not every program does: imported when it is done

        return export(self._core, self.id, file, form=form, forks=forks, redact=redact)

    def _erase(self, forks: bool) -> Steps[list[str]]:
        from agentstream.sessions.encryption.erasing import erase

        return erase(self._core, self.id, forks=forks, take_over=self._options.take_over)

    def _rewind(self, at: At) -> Steps[None]:
        return settling.rewind(self._core, self.id, at, take_over=self._options.take_over)

    def _tree(self) -> Steps[Node]:
        if self._known() is not None:
            raise AgentStreamError(
                f"session {self.id!r}: the tree is read outside its own run, which reads as of its start"
            )
        return family.tree(self._core, self.id)

    def _resolve(self, step: Any, result: Any, error: Any) -> Steps[None]:
        outcome = settling.resolution(step, result, error, self._core.rules)
        return settling.resolve(self._core, self.id, step, outcome, take_over=self._options.take_over)

    def _compact(self, keep_old: bool) -> Steps[Any]:
        if self._known() is not None:
            raise AgentStreamError(f"session {self.id!r} cannot be compacted from inside its own run; do it outside")
        from agentstream.sessions.compacting import compact  # not every program does

        return compact(self._core, self.id, keep_old=keep_old, take_over=self._options.take_over)

    def _seal(self) -> Steps[None]:
        return settling.seal(self._core, self.id, take_over=self._options.take_over)

    def _status(self) -> Steps[str | None]:
        log = yield from self._core.require(self.id)
        return (yield from catalog.run_status(log, fold(log)))
