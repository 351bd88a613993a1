"""The pytest plugin: recorded once, replayed with nothing outside, and what is shown of who leaves the cassette."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import agentstream
from agentstream.plugin import taping

pytest_plugins = ["pytester"]

# What tests in this process import is forgotten after them: modules with a state must be there before.
assert taping
for name in agentstream.__all__:
    getattr(agentstream, name)

AGENTS = """
import asyncio, random
from pathlib import Path
from agentstream import agent, ask, recorded, step

MADE = Path(__file__).with_name("made")

def made(what):
    with MADE.open("a") as file:
        file.write(f"{what}\\n")

@step(kind="tool")
def lookup(order):
    made(order)
    return {"order": order, "key": "sk-" + "a1" * 20, "chance": random.random()}

@step
async def slow(name, seconds):
    made(name)
    await asyncio.sleep(seconds)
    return name

@agent
def support(question):
    found = lookup(question.split()[-1].strip("?"))
    return f"{found['order']} {found['chance']} {recorded.uuid4()}"

@agent
async def race():
    tasks = [asyncio.ensure_future(slow(*each)) for each in (("a", 0.2), ("b", 0))]
    first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    name = first.pop().result()
    await asyncio.gather(*tasks)
    return await slow(f"after {name}", 0)

@agent
def asks(order):
    lookup(order)
    if ask(f"refund {order}?") == "yes":
        lookup(order + "-refund")
    return order
"""

TEST = """
import pytest
from shop_agents import support

@pytest.mark.agentstream("support.jsonl")
def test_support(agentstream):
    assert agentstream.run(support, "Where is A1?").startswith("A1")
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(shop_agents=AGENTS)
    pytester.syspathinsert()
    return pytester


def made(project: pytest.Pytester) -> list[str]:
    file = project.path / "made"
    return file.read_text().split() if file.exists() else []


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def change(project: pytest.Pytester, old: str, new: str) -> None:
    file = project.path / "shop_agents.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_recorded_once_and_served_ever_after(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    run(project).assert_outcomes(passed=1)
    assert made(project) == ["A1"]
    cassette = project.path / "support.jsonl"
    content = cassette.read_bytes()
    run(project).assert_outcomes(passed=1)
    run(project, "--agentstream-record=none").assert_outcomes(passed=1)
    assert made(project) == ["A1"], "no step was made again"
    assert cassette.read_bytes() == content
    assert b"sk-a1" not in content, "what is secret is not recorded"


def test_recorded_again_it_is_the_same_but_for_what_is_new(project: pytest.Pytester) -> None:
    change(project, '"chance": random.random()', '"chance": 0')
    change(project, "{recorded.uuid4()}", "")
    project.makepyfile(TEST)
    run(project).assert_outcomes(passed=1)
    cassette = project.path / "support.jsonl"
    content = cassette.read_bytes()
    run(project, "--agentstream-record=all").assert_outcomes(passed=1)
    assert made(project) == ["A1", "A1"]
    assert cassette.read_bytes() == content


def test_a_divergence_is_shown_as_a_diff(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    run(project).assert_outcomes(passed=1)
    change(project, 'question.split()[-1].strip("?")', "question.split()[-1]")
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the code does not go the way that support.jsonl recorded",
            "step 0 of session 'test': different args at input.order",
            "  recorded at shop_agents.py:* in support",
            "  now at *shop_agents.py:* in support",
            '  -  "order": "A1"',
            '  +  "order": "A1?"',
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "calls.py" not in result.stdout.str(), "no trace through the library"
    assert made(project) == ["A1"]


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("found = lookup(", "lookup('B2'); found = lookup(", "*different args*"),
        ('{recorded.uuid4()}"', "{recorded.uuid4()} {lookup('B2')}\"", "*extra call*"),
        ("{recorded.uuid4()}", "", "*missing call*"),
        ('@step(kind="tool")\ndef lookup', '@step(kind="tool", name="find")\ndef lookup', "*different call*"),
    ],
)
def test_each_kind_of_divergence(project: pytest.Pytester, old: str, new: str, shown: str) -> None:
    project.makepyfile(TEST)
    run(project).assert_outcomes(passed=1)
    change(project, old, new)
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([shown])
    assert made(project) == ["A1"]


def test_a_divergence_that_the_test_swallows_fails_it(project: pytest.Pytester) -> None:
    project.makepyfile(
        TEST.replace("assert agentstream", "with __import__('contextlib').suppress(BaseException): agentstream")
    )
    run(project).assert_outcomes(passed=1)
    change(project, '{recorded.uuid4()}"', "{recorded.uuid4()} {lookup('B2')}\"")
    run(project).assert_outcomes(failed=1)


def test_a_run_that_is_left_out_is_a_divergence(project: pytest.Pytester) -> None:
    twice = TEST + "    agentstream.run(support, 'Where is A2?')\n"
    project.makepyfile(twice)
    run(project).assert_outcomes(passed=1)
    project.makepyfile(TEST)
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*missing call*", '*"order": "A2"*'])


def test_where_nothing_may_be_recorded_a_missing_cassette_is_a_failure(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(TEST)
    monkeypatch.setenv("CI", "true")
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["there is no cassette *support.jsonl", "Record it once*--agentstream-record=new*"])
    project.makeini("[pytest]\nagentstream_record = new\n")
    run(project).assert_outcomes(passed=1)
    project.makeini("[pytest]\nagentstream_record = sometimes\n")
    result = run(project)
    result.stdout.fnmatch_lines(["*agentstream_record is one of none, new, all, not 'sometimes'*"])


def test_a_test_that_fails_records_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(TEST.replace('.startswith("A1")', '.startswith("no")'))
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*nothing was recorded*"])
    assert not (project.path / "support.jsonl").exists()


def test_a_damaged_cassette_is_told(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    run(project).assert_outcomes(passed=1)
    cassette = project.path / "support.jsonl"
    cassette.write_bytes(cassette.read_bytes().replace(b"A1", b"A2"))
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*sha256 differs*", "Record it again*"])


def test_parameters_have_a_cassette_each_and_tests_without_a_name_their_own(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_many="""
        import pytest
        from shop_agents import support

        @pytest.mark.agentstream("cassettes/support.jsonl")
        @pytest.mark.parametrize("order", ["A1", "B/2"])
        def test_orders(agentstream, order):
            assert agentstream.run(support, f"Where is {order}?").startswith(order)

        @pytest.mark.agentstream
        class TestMore:
            def test_more(self, agentstream_session):
                assert agentstream_session.run(support, "C3")
        """
    )
    run(project).assert_outcomes(passed=3)
    assert sorted(str(file.relative_to(project.path)) for file in project.path.rglob("*.jsonl")) == [
        "cassettes/support[A1].jsonl",
        "cassettes/support[B-2].jsonl",
        "cassettes/test_many/test_more.jsonl",
    ]
    run(project, "--agentstream-record=none").assert_outcomes(passed=3)
    assert sorted(made(project)) == ["A1", "B/2", "C3"]


def test_races_are_decided_as_they_were(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import asyncio, pytest
        from shop_agents import race

        @pytest.mark.agentstream("race.jsonl")
        def test_race(agentstream):
            assert asyncio.run(agentstream.arun(race)) == "after b"
        """
    )
    run(project).assert_outcomes(passed=1)
    assert sorted(made(project)) == ["a", "after", "b", "b"]
    for _ in range(3):
        run(project, "--agentstream-record=none").assert_outcomes(passed=1)
    assert len(made(project)) == 4


def test_a_test_answers_its_questions_again(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from agentstream import RunWaiting
        from shop_agents import asks

        @pytest.mark.agentstream("asks.jsonl")
        def test_asks(agentstream):
            with pytest.raises(RunWaiting) as waiting:
                agentstream.run(asks, "A1")
            agentstream.session.answer(waiting.value.questions[0], "yes")
            assert agentstream.run(asks, "A1") == "A1"
            assert len(agentstream.session.state().steps) == 3
            fork = agentstream.session.fork("other", 6)
        """
    )
    run(project).assert_outcomes(passed=1)
    run(project, "--agentstream-record=none").assert_outcomes(passed=1)
    assert made(project) == ["A1", "A1-refund"]


def test_a_test_without_the_mark_is_told_so(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(agentstream): ...")
    run(project).stdout.fnmatch_lines(["*is for tests marked @pytest.mark.agentstream*"])


def test_who_does_not_use_it_pays_nothing(project: pytest.Pytester) -> None:
    """The library is not imported before a test has the mark, and the plugin can be left out by its name."""
    project.makepyfile(
        """
        import sys
        def test_it():
            assert [name for name in sys.modules if name.startswith("agentstream.")] in ([], ["agentstream.plugin"])
        """
    )
    for arguments in ((), ("-p", "no:agentstream")):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *arguments], cwd=project.path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
    help = subprocess.run([sys.executable, "-m", "pytest", "--help"], cwd=project.path, capture_output=True, text=True)
    assert "--agentstream-record" in help.stdout


def test_a_cassette_is_an_export(project: pytest.Pytester, tmp_path: Path) -> None:
    from agentstream import Client

    project.makepyfile(TEST)
    run(project).assert_outcomes(passed=1)
    cassette = project.path / "support.jsonl"
    assert all(json.loads(line) for line in cassette.read_text().splitlines())
    with Client(tmp_path / "store") as client:
        (session,) = client.import_(cassette)
        assert session.status() == "finished"
        assert [step.name for step in session.state().steps] == ["lookup", "uuid4"]
