"""`agentstream compact`."""

from __future__ import annotations

from cli_kit import Cli


def test_the_old_life_is_kept_unless_it_is_dropped(cli: Cli) -> None:
    before = cli("show", "support/42", "--json").data
    done = cli("compact", "support/42", "--json")
    assert done.code == 0, done.err
    assert done.data["id"] == "support/42"
    assert done.data["old"].startswith("support/42~")
    assert cli("show", done.data["old"], "--json").code == 0
    assert cli("show", "support/42", "--json").data != before
    dropped = cli("compact", "support/42", "--drop-old")
    assert dropped.rows[0][:2] == ["support/42", "-"]


def test_what_is_not_there_cannot_be_compacted(cli: Cli) -> None:
    assert cli("compact", "nothing").code == 3


def test_what_was_sealed_stays_sealed(cli: Cli) -> None:
    assert cli("compact", "rewound").code == 0
    assert cli("label", "rewound", "--title", "x").code != 0
