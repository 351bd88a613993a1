"""The official server suite, whole, against `agentstream serve`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import node
import pytest
from serving_kit import serving

CASES = 338
LONG_POLL = 0.5


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["embedded", "memory"])
def test_every_case_passes(store: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node.packages() / "node_modules")
    suite = tmp_path / "server.test.mjs"
    suite.write_text((Path(__file__).parent / suite.name).read_text())
    config = tmp_path / "vitest.config.mjs"
    config.write_text("export default { test: { include: ['*.test.mjs'], testTimeout: 60000 } }")
    found = tmp_path / "found.json"
    vitest = tmp_path / "node_modules" / "vitest" / "vitest.mjs"
    place = "memory:" if store == "memory" else tmp_path / "store"
    with serving(place, "--long-poll-timeout", str(LONG_POLL)) as served:
        command = [node.node(), vitest, "run", "--root", tmp_path, "--reporter=json", f"--outputFile={found}"]
        told = {"SERVER_URL": served.base, "LONG_POLL_MS": str(int(LONG_POLL * 1000)), "NO_COLOR": "1"}
        ran = subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, timeout=500)
    assert found.exists(), ran.stdout + ran.stderr
    results = json.loads(found.read_text())
    failed = [
        f"{case['fullName']}: {case['failureMessages'][:1]}"
        for file in results["testResults"]
        for case in file["assertionResults"]
        if case["status"] != "passed"
    ]
    assert not failed
    assert results["numPassedTests"] == results["numTotalTests"] == CASES
