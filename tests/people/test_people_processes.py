"""One process asks and ends; another answers, as another language would; the first is run again. With kills between."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from people_kit import answer_plain, kinds

from agentstream import Client
from agentstream.backends.embedded import EmbeddedBackend

WORKER = Path(__file__).with_name("people_worker.py")


def work(tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(WORKER), str(tmp_path / "store"), str(tmp_path / "marks"), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def marks(tmp_path: Path) -> list[str]:
    return (tmp_path / "marks").read_text().split("\n")[:-1]


ANSWER = """
import sys
from agentstream.backends.embedded import EmbeddedBackend
sys.path.insert(0, sys.argv[1])
from people_kit import answer_plain
answer_plain(EmbeddedBackend(sys.argv[2]), "s", sys.argv[3], "blue")
"""


def test_asked_in_one_process_answered_in_another(tmp_path: Path) -> None:
    first = work(tmp_path)
    word, key = first.stdout.split()
    assert (word, marks(tmp_path)) == ("waiting", ["before"])
    assert work(tmp_path).stdout == first.stdout, "called again it waits again"

    tests = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-c", ANSWER, tests, str(tmp_path / "store"), key], check=True, timeout=60)
    assert work(tmp_path).stdout == "painted blue\n"
    assert marks(tmp_path) == ["before", "painted blue"]


def test_killed_when_the_question_was_asked_it_is_asked_once(tmp_path: Path) -> None:
    assert work(tmp_path, "kill", "asked").returncode == -signal.SIGKILL
    with Client(tmp_path / "store") as client:
        session = client.session("s")
        assert session.status() == "abandoned"
        (question,) = session.questions()
        word, key = work(tmp_path).stdout.split()
        assert (word, key) == ("waiting", question.key)
        session.answer(question, "red")
        assert work(tmp_path).stdout == "painted red\n"
        assert kinds(client, "s").count("question") == 1
    assert marks(tmp_path) == ["before", "painted red"]


def test_answered_between_kill_and_resume(tmp_path: Path) -> None:
    assert work(tmp_path, "kill", "asked").returncode == -signal.SIGKILL
    backend = EmbeddedBackend(tmp_path / "store")
    client = Client(backend)
    answer_plain(backend, "s", client.session("s").questions()[0].key, "blue")
    assert work(tmp_path, "kill", "answered").returncode == -signal.SIGKILL
    assert work(tmp_path).stdout == "painted blue\n"
    assert marks(tmp_path) == ["before", "painted blue"]
    backend.close()


def test_of_two_who_answer_at_once_one_is_told_that_it_was_too_late(tmp_path: Path) -> None:
    work(tmp_path)
    code = """
import sys
from agentstream import AnswerRefused, Client
session = Client(sys.argv[1]).session("s")
(question,) = session.questions()
print("ready", flush=True)
sys.stdin.readline()
try:
    session.answer(question, sys.argv[2])
    print("answered")
except AnswerRefused as refused:
    print(refused.reason)
"""
    people = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "store"), color],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for color in ("red", "blue")
    ]
    for person in people:
        assert person.stdout is not None
        assert person.stdout.readline() == "ready\n"
    for person in people:
        assert person.stdin is not None
        person.stdin.write("go\n")
        person.stdin.flush()
    said = [person.communicate(timeout=60)[0].strip() for person in people]
    assert sorted(said) == ["answered", "double"]
    winner = ("red", "blue")[said.index("answered")]
    assert work(tmp_path).stdout == f"painted {winner}\n"
