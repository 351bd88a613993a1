"""Sessions by the beginning of their id, and places in them."""

from __future__ import annotations

import pytest

from agentstream import Client
from agentstream.cli.positions import Place, read_exact, read_place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0", Place("at", 0)),
        ("17", Place("at", 17)),
        ("~3", Place("before_end", 3)),
        ("start", Place("start")),
        ("end", Place("end")),
        ("step:4", Place("step", 4)),
    ],
)
def test_places(text, place):
    assert read_place(text) == place
    assert str(place) == text


@pytest.mark.parametrize("text", ["", "-1", "now", "~", "step:", "step:-1", "1.0", "\u0661", "9" * 5000, "1 ", "Start"])
def test_what_is_no_place(text):
    assert read_place(text) is None


def test_an_exact_place_keeps_its_session():
    place = read_exact("support%40home@7:abc:00_1+2")
    assert place is not None
    assert (place.session, place.index, place.offset, place.skip) == ("support@home", 7, "00_1", 2)
    assert read_exact("support@7") is None


def test_the_beginning_of_an_id_is_enough(cli):
    assert len(cli("show", "rew").rows) > 0
    assert cli("show", "support/42-").rows == cli("show", "support/42-b").rows
    assert cli("show", "rew@2").rows == cli("show", "rewound@2").rows


def test_the_whole_id_wins_over_longer_ones(cli):
    assert len(cli("show", "support/42").rows) == 14


def test_the_beginning_of_several_is_ambiguous(cli):
    answer = cli("show", "sup", "--json")
    assert answer.code == 2
    assert answer.error["code"] == "ambiguous"
    assert "support/42, support/42-b" in answer.error["message"]
    assert cli("show", "").code == 3


def test_an_id_with_an_at_sign(cli, store):
    with Client(store) as client:
        for name in ("ann@example.com", "support/42@3"):
            client.session(name).append("custom", 1)
    assert len(cli("show", "ann@example.com").rows) == 2
    assert len(cli("show", "ann@example.com@1").rows) == 1
    assert len(cli("show", "support/42@3").rows) == 2  # the session of that very name
    assert len(cli("show", "support/42@2").rows) == 2


def test_a_deleted_session_is_not_found(cli, store):
    with Client(store) as client:
        client.session("support/42").delete()
    assert cli("show", "support/42-b").code == 0
    assert len(cli("show", "support/42").rows) == 8  # now the beginning of its fork's id
    assert cli("show", "support/42@nowhere").code == 3
