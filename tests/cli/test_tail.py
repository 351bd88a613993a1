from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from cli_kit import command, environment, support

from agentstream import Client


def test_the_last_ten_of_a_sealed_session(cli):
    answer = cli("tail", "rewound")
    assert answer.code == 0
    assert len(answer.rows) == 10
    assert answer.rows == cli("show", "rewound", "--from", "~10").rows
    assert cli("tail", "rewound", "--from", "start").rows == cli("show", "rewound").rows
    assert [line["index"] for line in cli("tail", "rewound@3", "--json", "--kind", "status").lines] == [3, 9]
    assert cli("tail", "rewound@3", "--from", "3").code == 2
    assert cli("tail", "nothing").code == 3


@pytest.mark.parametrize("verb", [["tail"], ["show", "-f"]])
def test_what_comes_is_printed_until_the_session_is_sealed(store, verb):
    with (
        Client(store) as client,
        subprocess.Popen(
            command(*verb, "support/42", "--json"),
            cwd=store.parent,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as followed,
    ):
        session = client.session("support/42")
        assert followed.stdout is not None
        before = 10 if verb == ["tail"] else 14
        lines = [json.loads(followed.stdout.readline()) for _ in range(before)]
        assert lines[-1]["index"] == 13
        session.append("message", {"role": "user", "text": "more"})
        came = json.loads(followed.stdout.readline())
        assert (came["index"], came["value"]["text"]) == (14, "more")
        session.run(support, 1)
        run = [json.loads(followed.stdout.readline())]
        while run[-1]["type"] != "status" or run[-1]["status"] == "running":
            run.append(json.loads(followed.stdout.readline()))
        steps = [(event["type"], event["step"], event["status"]) for event in run if event["type"] == "step"]
        session.rewind(at=15)
        session.run(support, 0)
        session.seal()
        rest = [json.loads(line) for line in followed.stdout]
        assert followed.wait(60) == 0
    assert steps == [("step", 3, "running"), ("step", 4, "running")]
    assert [event["index"] for event in run + rest] == list(range(15, 15 + len(run + rest)))
    again = next(event for event in rest if event["type"] == "step")
    assert (again["name"], again["step"]) == ("refused", 3)


def test_what_comes_at_once_with_what_takes_it_back(store):
    with (
        Client(store) as client,
        subprocess.Popen(
            command("tail", "support/42", "--json"),
            cwd=store.parent,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as followed,
    ):
        session = client.session("support/42")
        assert followed.stdout is not None
        for _ in range(10):
            followed.stdout.readline()
        followed.send_signal(signal.SIGSTOP)
        os.waitpid(followed.pid, os.WUNTRACED)
        session.run(support, 1)
        session.rewind(at=14)
        session.run(support, 0)
        session.seal()
        followed.send_signal(signal.SIGCONT)
        came = [json.loads(line) for line in followed.stdout]
        assert followed.wait(60) == 0
    assert [event["index"] for event in came] == list(range(14, 14 + len(came)))
    steps = [(event["name"], event.get("step"), event.get("mark")) for event in came if event["type"] == "step"]
    assert steps == [("lookup", None, "rewound"), ("refused", None, "rewound"), ("refused", 3, None)]


def test_one_that_is_deleted_is_not_found(store):
    with (
        Client(store) as client,
        subprocess.Popen(
            command("tail", "support/42"),
            cwd=store.parent,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as followed,
    ):
        assert followed.stdout is not None
        assert followed.stderr is not None
        for _ in range(10):
            followed.stdout.readline()
        client.session("support/42").delete()
        assert b"was deleted" in followed.stderr.read()
        assert followed.wait(60) == 3
