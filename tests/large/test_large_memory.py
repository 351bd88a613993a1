"""100 MB in and out while a process takes a few: measured in a process of its own, sync and async."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SIZE = 100 * 1024 * 1024
MOST = 40 * 1024 * 1024
"""What attaching, passing through a run, reading and saving may add to the process; 100 MB held once would be more."""

PROGRAM = """
import asyncio, hashlib, json, resource, sys
from pathlib import Path
from agentstream import AsyncClient, Attachment, Client, aattach, attach, step

source, store, way = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

@step
def look(file: Attachment) -> int:
    return sum(len(piece) for piece in file.chunks())

@step
async def alook(file: Attachment) -> int:
    return sum([len(piece) async for piece in file.achunks()])

def agent(given: Attachment) -> dict:
    made = attach(source, name="again.bin")
    return {"size": look(made), "file": made}

async def aagent(given: Attachment) -> dict:
    made = await aattach(source, name="again.bin")
    return {"size": await alook(made), "file": made}

def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else None

def main():
    with Client(store) as client:
        session = client.session("s")
        with session.attach(b"warm").open() as file:
            file.read()
        before = peak()
        given = session.attach(source)
        result = session.run(agent, given)
        result["file"].save(source.with_suffix(".out"))
        with result["file"].open() as file:
            read = sum(len(piece) for piece in iter(lambda: file.read(1 << 16), b""))
        session.export(source.with_suffix(".jsonl"))
    with Client(store.with_name("second")) as other:
        (copy,) = other.import_(source.with_suffix(".jsonl"))
        copied = sum(len(piece) for piece in copy.attachments()[0].chunks())
    return before, given, result, read, copied

async def amain():
    async with AsyncClient(store) as client:
        session = client.session("s")
        await (await session.attach(b"warm")).aread()
        before = peak()
        given = await session.attach(source)
        result = await session.run(aagent, given)
        await result["file"].asave(source.with_suffix(".out"))
        read = sum([len(piece) async for piece in given.achunks()])
        await session.export(source.with_suffix(".jsonl"))
    async with AsyncClient(store.with_name("second")) as other:
        (copy,) = await other.import_(source.with_suffix(".jsonl"))
        copied = sum([len(piece) async for piece in (await copy.attachments())[0].achunks()])
    return before, given, result, read, copied

before, given, result, read, copied = main() if way == "sync" else asyncio.run(amain())
print(json.dumps({"grew": peak() - before, "sizes": [given.size, result["size"], read, copied],
                  "same": digest(source) == digest(source.with_suffix(".out"))}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured as Linux tells it")
@pytest.mark.parametrize("way", ["sync", "async"])
def test_100_megabytes_in_and_out(tmp_path: Path, way: str):
    source = tmp_path / "large.bin"
    block = bytes(range(256)) * 4096
    with source.open("wb") as file:
        for number in range(SIZE // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    command = [sys.executable, "-c", PROGRAM, str(source), str(tmp_path / "store"), way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["sizes"] == [SIZE] * 4
    assert told["same"]
    assert told["grew"] < MOST, f"it took {told['grew'] / 1e6:.0f} MB"
