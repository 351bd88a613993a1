"""What docs/server.md says is so."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentstream.cli.serve import serve
from agentstream.protocol.problems import CODES

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "server"}
    exec(compile(block, "server.md", "exec"), names)

    async def run() -> None:
        transport = httpx.ASGITransport(app=names["site"])
        async with httpx.AsyncClient(transport=transport, base_url="http://any.example/durable/v1/stream/") as http:
            team, reading = (
                {"authorization": f"Bearer {secret}"} for secret in ("for-the-support-team", "for-dashboards")
            )
            json = {"content-type": "application/json"}
            assert (await http.put("support/42", headers=team | json, content=b"[1]")).status_code == 201
            assert (await http.put("sales/42", headers=team | json, content=b"[1]")).status_code == 403
            assert (await http.get("support/42", headers=reading)).json() == [1]
        await names["streams"].close()

    with names["client"]:
        asyncio.run(run())


def test_every_code_and_option_stands_there() -> None:
    sources = [path.read_text("utf-8") for path in (Path(__file__).parents[2] / "agentstream" / "server").glob("*.py")]
    codes = set(re.findall(r'problem\(\s*\d+, "(\w+)"', "".join(sources)))
    codes |= set(re.findall(r'_refuse\(\s*\d+, "(\w+)"', "".join(sources)))
    assert len(codes) > 10
    for code in codes | set(CODES.values()):
        assert f"`{code}`" in PAGE, code
    for option in serve.__annotations__:
        if option != "return":
            name = "public-url" if option == "url" else option.replace("_", "-")
            assert f"--{name}" in PAGE, option
