"""Workers in processes of their own: killed, racing, stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from people_kit import answer_plain
from workers_kit import WorkerProcess, step_begun, until

from agentstream import Client, Session

AGENTS = '''
import os, threading
from pathlib import Path
from agentstream import agent, ask, spawn, step

DONE = Path(__file__).with_name("done")


@step
def act(name: str) -> str:
    with DONE.open("a") as file:
        file.write(f"{name} {os.getpid()}\\n")
    return name


@step
def hang(name: str) -> str:
    """The first process to come here stays for ever."""
    try:
        os.close(os.open(DONE.with_name(f"hung-{name}"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "went on"
    threading.Event().wait()


@agent
def works(question: str) -> str:
    return " ".join([act(f"{question}.1"), hang(question), act(f"{question}.2")])


@agent
def asks(question: str) -> str:
    return act(question) + ask("Well?")


@agent
def counts(question: str) -> int:
    return len([act(f"{question}.{number}") for number in range(20)])


@agent
def fans(question: str) -> list[str]:
    return [child.result() for child in [spawn(works, f"{question}{number}") for number in range(2)]]
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bots.py").write_text(AGENTS)
    return tmp_path


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    with Client(folder / "store") as made:
        yield made


def worker(folder: Path, *arguments: str) -> WorkerProcess:
    return WorkerProcess(folder / "store", folder, *arguments)


def say(session: Session, text: str) -> None:
    session.append("message", {"role": "user", "text": text})


def done(folder: Path) -> list[str]:
    return [line.split()[0] for line in (folder / "done").read_text().splitlines()]


def test_what_a_killed_process_left_another_one_takes_up(client: Client, folder: Path) -> None:
    session = client.session("support/1")
    say(session, "q")
    with worker(folder, "bots:works", "--on-message") as first:
        step_begun(session, "hang")
        with worker(folder, "bots:works", "--match", "support/**") as second:
            os.kill(first.process.pid, signal.SIGKILL)
            until(session, "finished")
            second.process.send_signal(signal.SIGTERM)
            assert second.ended() == 0, second.told
        assert first.ended() == -signal.SIGKILL
    assert session.state().run.result == "q.1 went on q.2"  # type: ignore[union-attr]
    assert done(folder) == ["q.1", "q.2"], "what returned was not made again"
    assert any("support/1: abandoned" in line for line in second.told)


def test_an_answer_of_another_process_wakes_a_worker(client: Client, folder: Path) -> None:
    session = client.session("s")
    say(session, "q")
    with worker(folder, "bots:asks", "--on-message") as process:
        until(session, "waiting")
        answer_plain(client._core.backend, "s", session.questions()[0].key, "!")
        until(session, "finished")
        process.process.send_signal(signal.SIGINT)
        assert process.ended() == 0, process.told
    assert session.state().run.result == "q!"  # type: ignore[union-attr]


def test_workers_race_for_sessions_and_are_killed(client: Client, folder: Path) -> None:
    """Two workers want the same ten sessions; one after the other is killed in the middle, and others come."""
    sessions = [client.session(f"s{number}") for number in range(10)]
    for session in sessions:
        say(session, session.id)
    processes = [worker(folder, "bots:counts", "--on-message", "--concurrency", "3") for _ in range(2)]
    try:
        for number in (2, 5):
            until(sessions[number], "running")
            os.kill(processes[0].process.pid, signal.SIGKILL)
            processes.append(worker(folder, "bots:counts", "--on-message", "--concurrency", "3"))
            processes.pop(0).__exit__()
        for session in sessions:
            until(session, "finished")
    finally:
        for process in processes:
            process.__exit__()
    for session in sessions:
        state = session.state()
        assert [run.result for run in state.runs.values()] == [20]
        names = [found.input["name"] for found in state.steps]
        assert names == [f"{session.id}.{number}" for number in range(20)]
        for found in state.steps:
            assert sum(attempt.outcome is not None for attempt in found.attempts) == 1, "no outcome twice"
        events = [event for event in session.events() if event.type == "outcome" and event.mark is None]
        assert len(events) == 21
    made = done(folder)
    assert len(set(made)) == 200
    assert len(made) - 200 <= 2 * 3, "only what was at work in a killed process was made again"


def test_children_of_a_killed_process_go_on_with_their_parent(client: Client, folder: Path) -> None:
    session = client.session("p")
    say(session, "q")
    with worker(folder, "bots:fans", "--on-message", "--match", "p") as first:
        step_begun(session, "works")
        for number in range(2):
            step_begun(client.session(f"p/{number}"), "hang")
    with worker(folder, "bots:fans", "--match", "p"):
        until(session, "finished")
    assert session.state().run.result == ["q0.1 went on q0.2", "q1.1 went on q1.2"]  # type: ignore[union-attr]
    assert sorted(done(folder)) == ["q0.1", "q0.2", "q1.1", "q1.2"]
    assert [node.status for node in session.tree().walk()] == ["finished"] * 3
    assert first.process.returncode == -signal.SIGKILL


def test_several_processes_under_one_command(client: Client, folder: Path) -> None:
    session = client.session("s")
    say(session, "q")
    with worker(folder, "bots:works", "--on-message", "--processes", "2", "--grace", "1s") as supervisor:
        begun = step_begun(session, "hang")
        pid = int(next(line.split()[1] for line in (folder / "done").read_text().splitlines()))
        assert pid != supervisor.process.pid
        os.kill(pid, signal.SIGKILL)
        until(session, "finished", start=begun.index)
        supervisor.process.send_signal(signal.SIGTERM)
        assert supervisor.ended() == 0, supervisor.told
    assert session.state().run.result == "q.1 went on q.2"  # type: ignore[union-attr]
    assert any("another one is begun" in line for line in supervisor.told)


def test_a_second_signal_ends_it_at_once(client: Client, folder: Path) -> None:
    session = client.session("s")
    say(session, "q")
    with worker(folder, "bots:works", "--on-message", "--grace", "1h") as process:
        step_begun(session, "hang")
        process.process.send_signal(signal.SIGTERM)
        while not any("stopping" in line for line in process.told):
            assert process.process.poll() is None
        process.process.send_signal(signal.SIGTERM)
        assert process.ended() == 130
    assert session.status() == "abandoned"


@pytest.mark.parametrize(
    ("named", "says"),
    [("bots", "names no agent"), ("bots:nothing", "no function 'nothing'"), ("bats:works", "cannot be imported")],
)
def test_an_agent_that_is_not_there(folder: Path, named: str, says: str) -> None:
    with worker(folder, named, "--once") as process:
        assert process.ended() == 2
    assert says in "".join(process.told)
