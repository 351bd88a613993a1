"""`doctor`, `completion` and exports to read."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from agentstream import Client


def test_a_doctor_finds_nothing_wrong_and_leaves_nothing(cli, store):
    with Client(store) as client:
        before = [each.id for each in client.sessions()]
    answer = cli("doctor")
    assert answer.code == 0, answer.out
    states = {row[0]: row[1] for row in answer.rows}
    assert (states["store"], states["write"], states["sessions"]) == ("ok", "ok", "ok")
    assert [row[2] for row in answer.rows if row[0] == "abandoned"]  # a fork that nobody went on with
    assert "write" not in {each["what"] for each in cli("doctor", "--read-only", "--json").data}
    with Client(store) as client:
        assert [each.id for each in client.sessions()] == before


def test_a_doctor_says_what_is_wrong(cli, store):
    answer = cli("doctor", "--url", str(store.parent / "nothing"))
    assert (answer.code, answer.rows[-1][:2]) == (1, ["store", "wrong"])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("agentstream re", ["replay", "resume"]),
        ("agentstream show supp", ["support/42", "support/42-b"]),
        ("agentstream show --full supp", ["support/42", "support/42-b"]),
        ("agentstream diff support/42 rew", ["rewound"]),
        ("agentstream show support/42@st", ["support/42@start", "support/42@step:"]),
        ("agentstream show support/42@step:", ["support/42@step:0", "support/42@step:1", "support/42@step:2"]),
        ("agentstream replay rewound x:y --match o", ["ordered"]),
        ("agentstream replay --keep", ["--keep-going"]),
        ("agentstream list --parent rew", ["rewound"]),
        ("agentstream -q --no-input rep", ["replay"]),
        ("agentstream -q show --qu", ["--quiet"]),
        ("agentstream rm rewound supp", ["support/42", "support/42-b"]),
        ("agentstream nothing ", []),
        ("agentstream show support/42 more ", []),
        ("agentstream show 'unclosed", []),
    ],
)
def test_what_is_completed(cli, line, found):
    answer = cli("complete", line)
    assert answer.code == 0
    assert sorted(answer.out.split()) == sorted(found)


def test_ids_that_a_shell_would_obey_are_not_offered(cli, store):
    with Client(store) as client:
        client.session("bad$(reboot)").append("note", {})
        client.session("bad 'one'").append("note", {})
        client.session("bad-not").append("note", {})
    assert cli("complete", "agentstream show bad").out.split() == ["bad-not"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_ones(process, shell):
    script = process("completion", shell)
    assert "agentstream complete" in script.out
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script.out, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_session_to_read(cli, store, tmp_path):
    written = cli("export", "support/42", "--format", "markdown").out
    for part in (
        "# support/42",
        "- status: finished",
        "## user",
        "### step:0 function lookup (finished)",
        '"number": 0',
    ):
        assert part in written
    document = json.loads(cli("export", "support/42@5", "--format", "json").out)
    assert (document["kind"], document["data"]["index"], len(document["data"]["events"])) == ("session", 5, 5)
    file = tmp_path / "session.md"
    answer = cli("export", "support/42", "--format", "markdown", "-o", str(file), "--json")
    assert (answer.data["bytes"], answer.data["events"]) == (file.stat().st_size, 14)
    assert cli("export", "support/42@5").code == 2
    assert cli("export", "support/42", "--format", "json", "--forks").code == 2
