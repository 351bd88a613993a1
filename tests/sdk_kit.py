"""What the tests of the model SDKs' and frameworks' integrations share; the provider is `support.provider`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from support.provider import Behaviour, Provider

from agentstream import AgentStreamError, AsyncClient, Client, Event, Session, agent, step

Here = Callable[[str], None]
"""Is told of each place that an agent passes."""


@step
def marker(text: str = "after") -> str:
    """A step to follow a call, so that the call's outcome counts as seen."""
    return text


def failed(status: int = 500) -> Behaviour:
    """An error that the SDK tries again after, at once."""
    return Behaviour(status=status, headers={"retry-after-ms": "1"})


def attempts(client: Client, session: str) -> list[list[str]]:
    """The attempts of each step in a session, as their statuses."""
    return [
        [
            "open" if one.outcome is None else "failed" if "error" in one.outcome.value else "ok"
            for one in found.attempts
        ]
        for found in client.session(session).state().steps
    ]


def check_offline(provider: Provider, session: Session, asks: Callable[..., Any], result: Any) -> None:
    """With the provider gone, a replay goes the recorded way to the same result."""
    provider.close()
    report = session.replay(asks)
    assert report.identical, report
    assert report.result == result


def check_calls_were_named_live(events: Iterable[Event], messages: Iterable[Mapping[str, Any]]) -> None:
    """Each call's arguments came as deltas of its own; the first alone says the tool, and the message it is in."""
    told: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.type == "delta" and event.value["kind"] == "args":
            told.setdefault(event.value["target"], []).append(event.value)
    parts = {part["id"]: (part, message) for message in messages for part in message["parts"] if "arguments" in part}
    assert parts.keys() == told.keys()
    assert told
    for call, (first, *more) in told.items():
        part, message = parts[call]
        assert (first.get("name"), first.get("message")) == (part["name"], message["id"])
        assert not [delta for delta in more if "name" in delta or "message" in delta]
        said = part["arguments"]
        assert json.loads("".join(each["text"] for each in (first, *more))) == (
            json.loads(said) if isinstance(said, str) else said
        )


@contextmanager
def refused(match: str, *wrappers: type[Exception]) -> Iterator[None]:
    """An error of agentstream is raised here, at once, or is the cause of one of these."""
    with pytest.raises((AgentStreamError, *wrappers)) as caught:
        yield
    error = caught.value if isinstance(caught.value, AgentStreamError) else caught.value.__cause__
    assert isinstance(error, AgentStreamError)
    assert match in str(error)


# --- clients that record ---------------------------------------------------------------------------------------------


def check_that_it_stays_what_it_is(record: Callable[[Any], Any], client: Any) -> None:
    """A client is recorded in place, and once."""
    kind = type(client)
    assert record(client) is client
    assert type(client) is kind
    transport = client._client._transport
    record(client)
    record(client.with_options(timeout=3))
    assert client._client._transport is transport


def check_surface(
    surface: Callable[[Any], Any],
    plain: Any,
    recorded: Any,
    provider: Provider,
    folder: Path,
    behaviours: Iterable[Behaviour] = (),
) -> None:
    """What a surface of the SDK gives: the same recorded, the provider then behaving so, and replayed with it gone."""
    unrecorded = surface(plain)
    billed = len(provider.billed)
    provider.next += behaviours

    @agent
    def asks() -> Any:
        return surface(recorded), surface(recorded)

    with Client(folder) as client:
        session = client.session("s")
        first, again = session.run(asks)
        assert first == again == unrecorded
        assert len(provider.billed) == 3 * billed
        assert all(found == ["ok"] for found in attempts(client, "s"))
        check_offline(provider, session, asks, [first, again])
        assert len(provider.billed) == 3 * billed, "a connection that was kept open reached it"


async def check_async_surface(
    surface: Callable[[Any], Awaitable[Any]], plain: Any, recorded: Any, provider: Provider, folder: Path
) -> None:
    unrecorded = await surface(plain)
    billed = len(provider.billed)

    @agent
    async def asks() -> Any:
        return await surface(recorded), await surface(recorded)

    async with AsyncClient(folder) as client:
        session = client.session("s")
        first, again = await session.run(asks)
        assert first == again == unrecorded
        assert len(provider.billed) == 3 * billed
        provider.close()
        report = await session.replay(asks)
        assert report.identical, report
        assert report.result == [first, again]
        assert len(provider.billed) == 3 * billed, "a connection that was kept open reached it"


# --- other processes -------------------------------------------------------------------------------------------------


def ran(program: str | Path, folder: Path, **environment: str) -> str:
    """What a program (a file, or its text) prints. It runs in the folder, which also takes its temporary files."""
    done = subprocess.run(
        [sys.executable, *(["-c", program] if isinstance(program, str) else [program])],
        env={**os.environ, "TMPDIR": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def programs_in(readme: Path) -> list[str]:
    """The Python that a README shows, block by block."""
    return re.findall(r"```python\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)


def pass_by(place: str) -> None:
    """A place at which nothing happens."""


def killed_at(place: str, worked: Callable[..., Any], *arguments: str, told: Any = None, preload: list[str]) -> Any:
    """A process that does `worked(*arguments, here)` and is killed at `place`. `told` is sent every place it passes.

    It is forked from one that has imported everything and has no threads: importing an SDK takes longer than the test.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(preload)
    process = context.Process(target=_live, args=(worked, arguments, place, told))
    process.start()
    return process


def _live(worked: Callable[..., Any], arguments: tuple[str, ...], last: str, told: Any) -> None:
    def here(place: str) -> None:
        if told is not None:
            told.send(place)
        if place == last:
            os.kill(os.getpid(), signal.SIGKILL)

    worked(*arguments, here)
