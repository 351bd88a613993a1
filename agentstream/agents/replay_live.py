"""Running on from a replay: steps before a number are served from the record, those from it on are made.

Always in a new fork, never in the session itself. What is made may be steered: another model
or system prompt is sent in place of the one that the code asks for, tools are mocked, and
effects (`once` steps, children) are refused unless they are allowed. A step stays known by
what the code asked, so that the fork replays with the same code; its input says what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from inspect import Signature
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents.journal import Journal
from agentstream.agents.options import Options
from agentstream.agents.runs import _plan_resume, _run, named_run, runnable
from agentstream.errors import Diverged, NotFound, ReplayOffline, RunWaiting
from agentstream.sessions import codec
from agentstream.sessions.family import SPAWN
from agentstream.sessions.forking import fork
from agentstream.sessions.labels import label
from agentstream.sessions.log import locate
from agentstream.sessions.prices import cost_of
from agentstream.sessions.state import State, fold
from agentstream.sessions.writing import append

if TYPE_CHECKING:
    from agentstream.agents.agent import AgentSpec
    from agentstream.agents.calls import StepCall
    from agentstream.agents.journal import Entry
    from agentstream.agents.replay_options import Asked
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.events import Event
    from agentstream.sessions.prices import Cost, Prices
    from agentstream.sessions.state import Run

MODEL = "model"
TAG = "replay"
"""The tag of a fork that says what was steered in it."""

_SYSTEM = ("system", "developer")
_EMBEDS = "/embeddings"
"""Its model is another kind of model: it is left alone."""


class Changes(msgspec.Struct, frozen=True):
    """What model calls are sent otherwise than the code asks. `places` are names that a request may be given besides
    those it has."""

    model: str | None = None
    system: str | None = None
    places: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.model is not None or self.system is not None

    def applied(self, request: Mapping[str, Any], *, system: Any = None) -> dict[str, Any]:
        """The request with them in it: `model`, and the system prompt where this shape of request has it (`system`,
        `instructions`, a first message). `system` is the form of the prompt to put in, the text itself by default.

        Raises KeyError where the request has no place for one of them.
        """
        changed = dict(request)
        if isinstance(changed.get("body"), Mapping):
            return {**changed, "body": self.applied(changed["body"], system=system)}
        if self.model is not None:
            if "model" not in changed and "model" not in self.places:
                raise KeyError(MODEL)
            changed["model"] = self.model
        if self.system is not None:
            _put_system(changed, self.system if system is None else system, self.places)
        return changed

    def of_call(
        self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a function that makes a model call, with them in it."""
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        bound.arguments.update(self.applied(bound.arguments))
        return bound.args, bound.kwargs


def _put_system(request: dict[str, Any], text: Any, places: Collection[str]) -> None:
    for name in ("system", "instructions"):
        if name in request or name in places:
            request[name] = text
            return
    for name in ("messages", "input"):
        said = request.get(name)
        if isinstance(said, list):
            first: Any = said[0] if said else None
            is_system = isinstance(first, dict) and first.get("role") in _SYSTEM
            in_parts = isinstance(first, dict) and "parts" in first
            body = {"parts": [{"type": "text", "text": text}]} if in_parts else {"content": text}
            head = {**(first if is_system else {"role": "system"}), **body}
            request[name] = [head, *(said[1:] if is_system else said)]
            return
    if "input" not in request:
        raise KeyError("system")
    request["instructions"] = text


class Steering:
    """What one run makes otherwise than its code says."""

    def __init__(
        self, changes: Changes, mocks: Mapping[str, Any], allow: frozenset[str], typed: frozenset[str]
    ) -> None:
        """`mocks` and `allow` name steps as NAME or KIND:NAME, `allow` also as `*`; `typed` are the names of steps
        whose recorded results need their annotation to be rebuilt."""
        self.used: set[str] = set()
        self.changed = False
        """Whether a model call was sent otherwise than the code asked."""
        self._changes = changes
        self._mocks = mocks
        self._allow = allow
        self._typed = typed

    def prepare(self, call: StepCall, *, changeable: bool | Collection[str]) -> None:
        """Before a call is made: raises the stop where it may not be, and changes what it is to be sent."""
        if self._mock_of(call) is not None:
            return
        acts = call.effect == "once" or call.kind == SPAWN
        if acts and not self._allow & {"*", call.name, f"{call.kind}:{call.name}"}:
            raise call.worker.stop(
                ReplayOffline(
                    f"session {call.worker.session!r}: {call.kind} {call.name!r} acts on the world, and a replay that "
                    f"runs on does not: allow it (allow=[{call.name!r}]) or mock it (mock={{{call.name!r}: …}})"
                )
            )
        if self._changes and call.kind == MODEL and not call.name.endswith(_EMBEDS):
            self._change(call, changeable=changeable)

    def ready(self, call: StepCall, *, changeable: bool | Collection[str], in_loop: bool) -> Steps[None]:
        yield from ()
        self.prepare(call, changeable=changeable)

    def _change(self, call: StepCall, *, changeable: bool | Collection[str]) -> None:
        system = self._changes.system
        form = call.encoded(system).data if system is not None else None  # as it may be recorded
        try:
            if not changeable or not isinstance(call.data, Mapping):
                raise KeyError("request")
            places = () if isinstance(changeable, bool) else tuple(changeable)
            changes = msgspec.structs.replace(self._changes, places=places)
            call.data = changes.applied(call.data, system=form)
        except KeyError as missing:
            raise call.worker.stop(
                ReplayOffline(
                    f"session {call.worker.session!r}: the {missing.args[0]} of {call.kind} {call.name!r} cannot be "
                    "changed here; nothing was sent. Change it in the code"
                )
            ) from None
        call.changed = changes
        self.changed = True

    def mock(self, call: StepCall, *, in_loop: bool) -> Steps[None]:
        """Gives a step that is mocked its outcome, as if it was recorded."""
        from agentstream.agents.calls import Served
        from agentstream.agents.outcomes import RecordedError

        name = self._mock_of(call)
        if name is None:
            return
        self.used.add(name)
        value = self._mocks[name]
        try:
            if callable(value) and not isinstance(value, Exception):
                asked = codec.decode(call.data)
                value = value(**asked) if isinstance(asked, dict) else value(asked)
        except Exception as error:
            value = error
        if isinstance(value, Exception):
            error = RecordedError.of((yield from call.failing(value, in_loop=in_loop)), call.rules)
            call.served = Served(error=error)
            return
        encoded = call.encoded(value)
        if call.name in self._typed:
            encoded = msgspec.structs.replace(encoded, typed=True)
        yield from call.finishing_with(encoded, in_loop=in_loop)
        call.served = Served(codec.decode(encoded.data), typed=encoded.typed)

    def _mock_of(self, call: StepCall) -> str | None:
        names = (f"{call.kind}:{call.name}", call.name)
        return next((name for name in names if name in self._mocks), None)


# --- running on ------------------------------------------------------------------------------------------------------


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """How to run on. `start` is the number of the first step that is made."""

    start: int
    into: str | None = None
    run: str | None = None
    changes: Changes = Changes()
    mocks: Mapping[str, Any] = {}
    allow: frozenset[str] = frozenset()
    prices: Prices
    confirm: Callable[[Cost], bool] | None = None


def live_of(asked: Asked, start: int, number: int) -> Live:
    """How a replay runs on, as it was asked for; `number` is that of the try."""
    return Live(
        start=start,
        into=asked.into if asked.into is None or asked.repeat == 1 else f"{asked.into}-{number}",
        run=asked.run,
        changes=asked.changes,
        mocks=asked.mock,
        allow=asked.allow,
        prices=asked.prices,
        confirm=asked.confirm if number == 1 else None,
    )


class Ran(msgspec.Struct):
    """What came of it. `served` is how many recorded steps there are before, `made` how many were made."""

    estimate: Cost
    recorded: int
    served: int
    fork: str | None = None
    result: Any = None
    returned: bool = False
    same: bool = False
    error: Exception | None = None
    diverged: Diverged | None = None
    refused: str | None = None
    made: int = 0
    notes: list[str] = msgspec.field(default_factory=list)


def run_on(core: Core, session: str, function: Any, live: Live, *, in_loop: bool) -> Steps[Ran]:
    """Forks the session before step `start` of a run and goes on there. The session itself stays as it is."""
    spec = runnable(function, in_loop=in_loop)
    state = fold((yield from core.require(session)))
    run = named_run(state, live.run)
    entries = Journal(state, run.key, replayed=True).entries
    if not 0 <= live.start <= len(entries):
        raise ValueError(f"live_from= is the number of a step in the run, at most {len(entries)}, not {live.start}")
    ran = Ran(estimate(entries, live), len(entries), live.start)
    cut = entries[live.start].begun if live.start < len(entries) else _end_of(state, run)
    steering = Steering(
        live.changes, live.mocks, live.allow, typed_names((entry.call[1], entry.outcome) for entry in entries)
    )
    options = Options(run_id=run.id, steering=steering)
    go = partial(_go_on, core, spec=spec, options=options, in_loop=in_loop)
    yield from on_branch(core, session, live, ran, cut, steering, go)
    if ran.fork is not None:
        yield from _judge(core, ran.fork, state, ran, cut)
    return ran


def on_branch(
    core: Core, session: str, live: Live, ran: Ran, cut: int, steering: Steering, go: Callable[[str], Steps[Any]]
) -> Steps[None]:
    """Asks, forks the session at `cut` and goes on in the fork; `ran` is told what came of it, up to how it ended."""
    if live.confirm is not None and not live.confirm(ran.estimate):
        ran.notes.append("nothing was run")
        return
    new_id = yield from _free_id(core, session, live.into)
    yield from fork(core, session, new_id, cut)
    yield from _say(core, new_id, session, live)
    ran.fork = new_id
    yield from _ended(new_id, ran, go(new_id))
    for name in live.mocks.keys() - steering.used:
        ran.notes.append(f"the mock of {name!r} was not called for")
    if live.changes and not steering.changed and ran.refused is None:
        ran.notes.append("no model call was sent otherwise: none was made that is a step")


def estimate(entries: list[Entry], live: Live) -> Cost:
    """What the steps cost that are to be made, as far as the record tells."""
    outcomes = [entry.outcome for entry in entries[live.start :] if entry.outcome is not None]
    return cost_of(outcomes, live.prices, model=live.changes.model)


def _end_of(state: State, run: Run) -> int:
    return run.outcome.index if run.outcome is not None else state.index


def _free_id(core: Core, session: str, wanted: str | None) -> Steps[str]:
    if wanted is not None:
        return wanted
    for name in _names(session):
        if (yield from locate(name)) is None:
            return name
    raise AssertionError("there is always another number")


def _names(session: str) -> Iterator[str]:
    number = 1
    while True:
        yield f"{session}-live-{number}"
        number += 1


def _say(core: Core, new_id: str, session: str, live: Live) -> Steps[None]:
    """The fork tells what is steered in it."""
    told: dict[str, Any] = {"of": session, "live_from": live.start}
    if live.changes.model is not None:
        told["model"] = live.changes.model
    if live.changes.system is not None:
        told["system"] = live.changes.system
    if live.mocks:
        told["mock"] = sorted(live.mocks)
    yield from append(core, new_id, "session", label(None, {TAG: told}), None)


def typed_names(outcomes: Iterable[tuple[str, Event | None]]) -> frozenset[str]:
    """Of steps' names and their outcomes, the names of those whose results need their annotation to be rebuilt."""
    return frozenset(name for name, outcome in outcomes if outcome is not None and outcome.value.get("typed"))


def _go_on(core: Core, new_id: str, *, spec: AgentSpec, options: Options, in_loop: bool) -> Steps[Any]:
    log = yield from core.require(new_id)
    return (yield from _run(core, log, spec, options, lambda state: _plan_resume(state, spec, options), in_loop))


def _ended(new_id: str, ran: Ran, going: Steps[Any]) -> Steps[None]:
    try:
        ran.result = yield from going
        ran.returned = True
    except Diverged as error:
        ran.diverged = error
    except ReplayOffline as error:
        ran.refused = str(error)
    except RunWaiting as error:
        ran.notes.append(f"{error}; go on with session {new_id!r} when that has come")
    except NotFound:
        raise
    except Exception as error:
        from agentstream.errors import AgentStreamError, Denied, Interrupted, QuestionExpired, ReplayedError

        if isinstance(error, AgentStreamError) and not isinstance(
            error, (ReplayedError, Denied, QuestionExpired, Interrupted)
        ):
            raise
        ran.error = error


def _judge(core: Core, new_id: str, source: State, ran: Ran, cut: int) -> Steps[None]:
    """Whether the fork came out as its source did."""
    from agentstream.sessions.comparing import compare_steps

    branch = fold((yield from core.require(new_id)))
    ran.made = sum(step.last.start.index >= cut for step in branch.steps)
    same_end = (source.run is not None and branch.run is not None) and (
        codec.fingerprint(source.run.encoded_result) == codec.fingerprint(branch.run.encoded_result)
        and source.status == branch.status
    )
    ran.same = same_end and compare_steps(source, branch).identical
