"""One test's cassette: what it is recorded in, or played from."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentstream.agents.tape import Tape
from agentstream.client import AsyncClient, Client
from agentstream.errors import AgentStreamError, Diverged, InvalidExport
from agentstream.plugin.cassette import written
from agentstream.plugin.report import divergence_text

if TYPE_CHECKING:
    from agentstream.agents.divergence import Divergence
    from agentstream.session import AsyncSession, Session
    from agentstream.sessions.redaction import Redact

SESSION = "test"

_UNFIT = re.compile(r"[^\w.=+-]+")


class CassetteError(AgentStreamError):
    """A cassette that is not there or cannot be read, or that the test does not follow."""


class Taping:
    """What the fixture `agentstream` gives.

    `recording` says whether steps are really made now; else each is given its outcome from the cassette, and one that
    is not in it ends the test. Sessions live in memory: those of `client` and `async_client` (two faces of one), of
    which `session` and `async_session` are the one called "test". Hand the client to code that takes one (a
    StreamSaver, say); what runs on another client is not recorded.
    """

    def __init__(self, path: Path, *, recording: bool, redact: Redact | bool, recorded: set[Path]) -> None:
        self.path = path
        self.recording = recording
        self.client = Client("memory:", redact=redact, encrypt=False)
        self._finished = False
        self._recorded = recorded
        self._tape: Tape | None = None
        self._played: Client | None = None
        if not recording:
            self._played = Client("memory:", redact=False, encrypt=False)
            sessions = self._played.import_(path)
            self._tape = self.client._core.steering = Tape([session.state() for session in sessions])

    @cached_property
    def async_client(self) -> AsyncClient:
        """`client` for `await`."""
        return self.client.to_async()

    @cached_property
    def session(self) -> Session:
        """A session of `client`."""
        return self.client.session(SESSION)

    @cached_property
    def async_session(self) -> AsyncSession:
        """The same for `await`."""
        return self.async_client.session(SESSION)

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """`session.run`."""
        return self.session.run(fn, *args, **kwargs)

    async def arun(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """`await async_session.run`."""
        return await self.async_session.run(fn, *args, **kwargs)

    # --- after the test ----------------------------------------------------------------------------------------------

    @property
    def unsaved(self) -> bool:
        """Whether something was recorded and not written."""
        return self.recording and not self._finished

    def finish(self) -> None:
        """Writes the cassette, or raises where what it holds was not asked for. For a test that passed."""
        if self._tape is None:
            self._write()
            return
        divergence = self._tape.divergence
        if divergence is not None:
            raise Diverged(str(divergence), divergence=divergence)  # also where the test caught it
        left = self._tape.left(session.state() for session in self._sessions())
        if left:
            raise NotPlayed(left)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._sessions():
            raise CassetteError(
                f"the test ran nothing on its cassette's client, so there is nothing to record in {self.path}. Use the "
                "fixture's client or session in the test"
            )
        content = written(self._sessions(), self.path.name)
        whole = self.path.with_name(f".{self.path.name}.part")
        whole.write_bytes(content)
        whole.replace(self.path)
        self._finished = True
        self._recorded.add(self.path)

    def _sessions(self) -> list[Session]:
        return [self.client.session(each.id) for each in self.client.sessions(sort="id")]

    def explained(self, error: BaseException) -> str | None:
        """What a person is shown of a test that left its cassette; None where it failed by itself."""
        divergences: list[Divergence] = []
        if isinstance(error, NotPlayed):
            divergences = error.divergences
        elif isinstance(error, Diverged) and error.divergence is not None:
            divergences = [error.divergence]
        elif self._tape is not None and self._tape.divergence is not None:
            divergences = [self._tape.divergence]
        return divergence_text(self.path, divergences) if divergences else None

    def close(self) -> None:
        """Releases both stores."""
        self.client.close()
        if self._played is not None:
            self._played.close()


class NotPlayed(CassetteError):
    """Steps of the cassette were not asked for."""

    def __init__(self, divergences: list[Divergence]) -> None:
        super().__init__(f"{len(divergences)} recorded steps were not asked for, the first: {divergences[0]}")
        self.divergences = divergences


def opened(item: pytest.Item, mark: pytest.Mark, mode: str, recorded: set[Path]) -> Taping:
    """The cassette of a test. `recorded` are those written in this session: the second test of one plays it."""
    path, redact = _asked(item, mark)
    recording = path not in recorded and (mode == "all" or (mode == "new" and not path.exists()))
    if not recording and not path.exists():
        pytest.fail(
            f"there is no cassette {path}\nRecord it once, where the agents' keys are: "
            f"pytest --agentstream-record=new {item.nodeid!r}, and commit the file",
            pytrace=False,
        )
    try:
        return Taping(path, recording=recording, redact=redact, recorded=recorded)
    except InvalidExport as error:
        pytest.fail(f"{error}\nRecord it again: pytest --agentstream-record=all {item.nodeid!r}", pytrace=False)


def _asked(item: pytest.Item, mark: pytest.Mark) -> tuple[Path, Any]:
    unknown = mark.kwargs.keys() - {"cassette", "redact"}
    if len(mark.args) > 1 or unknown:
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.agentstream takes a file and redact=, nothing else")
    named = mark.args[0] if mark.args else mark.kwargs.get("cassette")
    folder, case = item.path.parent, getattr(item, "callspec", None)
    if named is None:
        name = f"cassettes/{item.path.stem}/{getattr(item, 'originalname', item.name)}.jsonl"
    else:
        name = str(named)
    path = folder / name
    if case is not None and case.id:  # each of the parameters has its own
        path = path.with_name(f"{path.stem}[{_UNFIT.sub('-', case.id)}]{path.suffix}")
    return path, mark.kwargs.get("redact", True)
