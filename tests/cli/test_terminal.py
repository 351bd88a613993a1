"""On a terminal: tables, colours, a pager; and nothing recorded that the terminal would obey."""

from __future__ import annotations

import re
import sys

import pytest
from cli_kit import EVIL

from agentstream import Client
from agentstream.adapters import open_step

SGR = re.compile(r"\x1b\[\d+m")


def test_a_table_that_fits_the_terminal(terminal):
    shown = SGR.sub("", terminal("show", "support/42"))
    lines = shown.splitlines()
    assert lines[0] == "support/42  finished  14 events"
    assert lines[1].split() == ["index", "type", "step", "kind", "name", "status", "ms", "value"]
    assert len(lines) == 16
    assert all(len(line) <= 100 for line in lines)
    assert "…" in shown
    listed = SGR.sub("", terminal("list"))
    assert listed.splitlines()[0].split() == ["id", "status", "agent", "events", "updated", "parent", "title"]
    assert "(sealed)" in listed


@pytest.mark.parametrize(("sort", "column"), [("created", "ago"), ("failures", "1"), ("cost", "$0.00")])
def test_what_a_list_is_sorted_by_is_seen(terminal, store, sort, column):
    def asks() -> None:
        call = open_step("model", "chat", {})
        call.finish(None, usage={"input_tokens": 1000, "output_tokens": 1, "model": "gpt-4o"})

    with Client(store) as client:
        client.session("paid").run(asks)
    shown = terminal("list", "--sort", sort, NO_COLOR="1").splitlines()
    heads = shown[0].split()
    assert heads == ["id", "status", "agent", "events", sort, "updated", "parent", "title"]
    assert any(column in line.partition("finished")[2] for line in shown[1:])


def test_colours_on_a_terminal(terminal):
    shown = terminal("list")
    assert "\x1b[32mfinished\x1b[0m" in shown
    assert "\x1b[35mabandoned\x1b[0m" in shown
    assert "\x1b" not in terminal("list", NO_COLOR="1")


@pytest.mark.parametrize(
    ("arguments", "names", "coloured"),
    [
        ([], {}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "0"}, False),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_in_a_pipe(cli, monkeypatch, arguments, names, coloured):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[32mfinished\x1b[0m" in cli("list", *arguments).out) is coloured


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", "evil"],
        ["show", "evil", "--full"],
        ["show", "evil", "--state"],
        ["show", "evil", "--raw"],
        ["show", "evil", "--json"],
        ["show", "evil", "--state", "--json"],
        ["tail", "evil", "--jsonl"],
        ["tail", "evil"],
        ["show", EVIL.replace("\r\n", " ")],
        ["show", "evil", "--from", EVIL],
        ["fork", "evil", "--as", EVIL],
        ["fork", "evil", "--set-message", '2="fine"', "--dry-run"],
        ["fork", "evil", "--set-message", '2="fine"', "--dry-run", "--json"],
        ["fork", "evil", "--edit", EVIL],
        ["rm", "evil", "hi \u202e", "--with-forks"],
    ],
)
def test_nothing_recorded_moves_the_terminal(terminal, cli, store, arguments):
    with Client(store) as client:
        evil = client.session("evil")
        evil.append("session", {"title": EVIL, "tags": {EVIL: EVIL}})
        evil.append("message", {"role": EVIL, "parts": [{"type": EVIL, "text": EVIL}]}, key=EVIL)
        evil.append(EVIL, {EVIL: EVIL}, key="k" + EVIL)
        evil.append("tool.called", EVIL)
        evil.fork("hi \u202e", 1)
        evil.seal()
    shown = SGR.sub("", terminal(*arguments, typed="n\n" if arguments[0] == "rm" else ""))
    assert not re.search(r"[^\n\r\x20-\x7e\xa0-\u2027\u202f-\uffff]", shown)
    assert "\r" not in shown.replace("\r\n", "")
    piped = cli(*arguments)
    assert not re.search(r"[^\n\t\x20-\x7e\xa0-\u2027\u202f-\uffff]", piped.out + piped.err)


def test_the_pager_is_for_terminals(terminal, process, tmp_path):
    pager = tmp_path / "pager.py"
    pager.write_text("import sys; print('PAGED', len(sys.stdin.read().splitlines()))")
    with_pager = {"PAGER": f"{sys.executable} {pager}"}
    assert terminal("show", "support/42", **with_pager).strip() == "PAGED 16"
    assert terminal("list", **with_pager).strip() == "PAGED 4"
    assert "PAGED" not in terminal("show", "support/42", "--no-pager", **with_pager)
    assert "PAGED" not in terminal("tail", "rewound", **with_pager)
    assert "PAGED" not in terminal("show", "support/42", "--json", **with_pager)
    assert "PAGED" not in process("show", "support/42", **with_pager).out
    assert "support/42" in terminal("list", PAGER="no-such-pager-anywhere")


def test_a_pager_that_is_left_early(terminal, store, tmp_path):
    with Client(store) as client:
        for _ in range(40):
            client.session("long").append("custom", "x" * 10_000)
    pager = tmp_path / "pager.py"
    pager.write_text("import sys; sys.stdin.readline(); print('ENOUGH')")
    assert terminal("show", "long", "--full", PAGER=f"{sys.executable} {pager}").strip() == "ENOUGH"


def test_wide_characters_keep_the_columns(terminal, store):
    with Client(store) as client:
        client.session("日本語/セッション").append("custom", "日本" * 200)
    lines = SGR.sub("", terminal("list", "日本")).splitlines()
    assert lines[1].startswith("日本語/セッション  ")
    shown = SGR.sub("", terminal("show", "日本", columns=60)).splitlines()
    assert shown[-1].endswith("…")
