"""A server that takes tokens: the command line gives what the environment has, and says where it is not let in."""

from __future__ import annotations

from serving_kit import serving

TOKEN = "a-token-of-this-test"


def test_a_token_from_the_environment(process, store, tmp_path):
    with serving(store, "--token", TOKEN) as served:
        for auth in (TOKEN, f"Bearer {TOKEN}"):
            shown = process("show", "support/42", "--url", served.url, AGENTSTREAM_AUTH=auth)
            assert (shown.code, len(shown.rows)) == (0, 14)
        for auth in ("", "another"):
            refused = process("show", "support/42", "--url", served.url, AGENTSTREAM_AUTH=auth)
            assert (refused.code, refused.out) == (4, "")
            assert "AGENTSTREAM_AUTH" in refused.err
            assert TOKEN not in refused.err
        told = process("list", "--url", served.url, "--json", AGENTSTREAM_AUTH="another")
        assert (told.code, told.error["code"]) == (4, "unauthorized")
        assert process("list", "--url", served.url, AGENTSTREAM_AUTH=TOKEN).code == 0
        file = str(tmp_path / "x.jsonl")
        assert process("export", "support/42", "-o", file).code == 0
        made = process("import", file, "--as", "again", "--url", served.url, AGENTSTREAM_AUTH=TOKEN)
        assert (made.code, made.out) == (0, "again\n")
