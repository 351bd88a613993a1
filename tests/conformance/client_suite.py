"""Runs the official client suite's cases against an adapter: its operations, its expectations, and what its own
runner leaves unchecked. (A failure that nobody expected, `success`, `allSucceed`, and expectations on errors.)
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

HERE = Path(__file__).parent
CASES = HERE / "client"
FILES = sorted(CASES.rglob("*.yaml"))
HANGING = 60

REFUSED = {
    # Appends nothing, which the protocol refuses (§5.2), and goes on as if nothing had been said.
    ("sse-base64-empty-payload", "setup", 1),
    # Reads from an offset that no server minted; what comes of it is not said, and the reference server answers 400.
    ("read-future-offset", "operations", 0),
}
"""Operations that a server refuses, without the suite saying so."""

Case = dict[str, Any]


def cases_of(file: Path) -> list[Case]:
    """The cases of a file."""
    return yaml.safe_load(file.read_text())["tests"]


class Failed(AssertionError):
    """An expectation that was not met."""


class AdapterProcess:
    """A running adapter: one JSON line in, one out."""

    def __init__(self, program: str) -> None:
        command = [sys.executable, str(HERE / program)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: Case) -> Case:
        self.tell(command)
        return self.hear()

    def tell(self, command: Case) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Case:
        assert self._process.stdout is not None
        timer = threading.Timer(HANGING, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        assert line, "the adapter has ended"
        return json.loads(line)

    def close(self) -> None:
        if self._process.poll() is None:
            self.ask({"type": "shutdown"})
        self._process.communicate(timeout=HANGING)


class Suite:
    """One case at a time, against a server at `url`."""

    def __init__(self, adapter: AdapterProcess, url: str) -> None:
        self._adapter = adapter
        self._url = url
        parts = urlsplit(url)
        self._host, self._root = parts.netloc, parts.path
        self._known: dict[str, Any] = {}
        self._types: dict[str, str] = {}
        self._under_way: str | None = None

    def run(self, case: Case) -> None:
        """Raises Failed where the case does not come out as it should."""
        self._known, self._types, self._under_way = {"randomUUID": secrets.token_hex(8)}, {}, None
        self._adapter.ask({"type": "init", "serverUrl": self._url})
        try:
            for part in ("setup", "operations"):
                for number, operation in enumerate(case.get(part) or []):
                    try:
                        self._do(operation)
                    except Failed as failed:
                        if (case["id"], part, number) in REFUSED:
                            continue
                        raise Failed(f"{case['id']}: {part} {number} ({operation['action']}): {failed}") from None
        finally:
            if self._under_way is not None:
                self._adapter.hear()
            for operation in case.get("cleanup") or []:
                self._do(operation)

    # --- operations --------------------------------------------------------------------------------------------------

    def _do(self, raw: Case) -> None:
        operation = self._filled({key: value for key, value in raw.items() if key != "expect"})
        expected = dict(raw.get("expect") or {})
        action = operation.pop("action")
        special = getattr(self, f"_{action.replace('-', '_')}", None)
        if special is not None:
            special(operation, expected)
        else:
            self._check(self._adapter.ask({"type": action, **operation}), expected)

    def _filled(self, value: Any) -> Any:
        """`${name}` replaced by what was stored under it."""
        if isinstance(value, dict):
            return {key: self._filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        if isinstance(value, str):
            return re.sub(r"\$\{(\w+)(?:\.(\w+))?\}", self._stored, value)
        return value

    def _stored(self, found: re.Match[str]) -> str:
        value = self._known[found[1]]
        return str(value[found[2]] if found[2] else value)

    def _create(self, operation: Case, expected: Case) -> None:
        name = operation.pop("as", None)
        path = operation.setdefault("path", f"/test-stream-{secrets.token_hex(8)}")
        if name:
            self._known[name] = path
        self._types[path] = operation.get("contentType", "application/octet-stream")
        self._check(self._adapter.ask({"type": "create", **operation}), expected)

    def _append(self, operation: Case, expected: Case) -> None:
        self._check(self._adapter.ask({"type": "append", **_with_data(operation)}), expected)

    def _append_batch(self, operation: Case, expected: Case) -> None:
        path = operation["path"]
        answers = [self._adapter.ask({"type": "append", "path": path, **_with_data(i)}) for i in operation["items"]]
        succeeded = {number for number, answer in enumerate(answers) if answer["success"]}
        if expected.get("allSucceed") and len(succeeded) < len(answers):
            raise Failed(f"not all succeeded: {answers}")
        for number in range(len(answers)):
            if number in expected.get("succeedIndices", ()) and number not in succeeded:
                raise Failed(f"item {number} failed: {answers[number]}")
            if number in expected.get("failIndices", ()) and number in succeeded:
                raise Failed(f"item {number} succeeded")

    def _idempotent_append_batch(self, operation: Case, expected: Case) -> None:
        operation["items"] = [item["data"] for item in operation["items"]]
        self._check(self._adapter.ask({"type": "idempotent-append-batch", **operation}), expected)

    def _read(self, operation: Case, expected: Case) -> None:
        name = operation.pop("as", None)
        if operation.pop("background", False):
            self._adapter.tell({"type": "read", **operation})
            self._under_way = name
            return
        self._check(self._adapter.ask({"type": "read", **operation}), expected)

    def _await(self, operation: Case, expected: Case) -> None:
        assert operation["ref"] == self._under_way
        self._under_way = None
        self._check(self._adapter.hear(), expected)

    def _wait(self, operation: Case, expected: Case) -> None:
        time.sleep(operation["ms"] / 1000)

    def _assert(self, operation: Case, expected: Case) -> None:
        found = operation["equals"]
        if found["left"] != found["right"]:
            raise Failed(f"{operation.get('message')}: {found}")

    def _validate(self, operation: Case, expected: Case) -> None:
        answer = self._adapter.ask({"type": "validate", **operation})
        if answer["success"] != expected.pop("valid"):
            raise Failed(f"validated as {answer}")
        if "errorContains" in expected:
            expected["messageContains"] = [expected.pop("errorContains")]
        self._check(answer, expected, fails=not answer["success"])

    # --- the server, asked by the suite itself -----------------------------------------------------------------------

    def _asked(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection(self._host, timeout=HANGING)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            return response.status, {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()

    def _server_append(self, operation: Case, expected: Case) -> None:
        path = operation["path"]
        headers = {"content-type": self._types[path], **operation.get("headers", {})}
        for name in ("producerId", "producerEpoch", "producerSeq"):
            if name in operation:
                headers[re.sub(r"([A-Z])", r"-\1", name).lower()] = str(operation[name])
        status, found = self._asked("POST", self._root + path, operation["data"].encode(), headers)
        told = {
            "producerEpoch": found.get("producer-epoch"),
            "producerExpectedSeq": found.get("producer-expected-seq"),
            "producerReceivedSeq": found.get("producer-received-seq"),
        }
        if status != expected.get("status", status):
            raise Failed(f"the server answered {status}")
        if expected.get("duplicate", False) != (status == 204) and "duplicate" in expected:
            raise Failed(f"duplicate: {status}")
        for name, value in told.items():
            if name in expected and str(expected[name]) != value:
                raise Failed(f"{name} is {value}")

    def _server_close(self, operation: Case, expected: Case) -> None:
        headers = {"stream-closed": "true", "content-type": operation.get("contentType", "")}
        status, _ = self._asked("POST", self._root + operation["path"], operation.get("data", "").encode(), headers)
        if status not in (200, 204):
            raise Failed(f"the server answered {status}")

    def _inject_error(self, operation: Case, expected: Case) -> None:
        body = json.dumps({**operation, "path": self._root + operation["path"]}).encode()
        status, _ = self._asked("POST", "/_test/inject-error", body, {"content-type": "application/json"})
        if status != 200:
            raise Failed(f"the server injects no errors ({status})")

    def _clear_errors(self, operation: Case, expected: Case) -> None:
        self._asked("DELETE", "/_test/inject-error", b"", {})

    # --- expectations ------------------------------------------------------------------------------------------------

    def _check(self, answer: Case, expected: Case, *, fails: bool | None = None) -> None:
        """Each expectation, on errors too; and success where no failure is expected."""
        self._store(answer, expected)
        status = expected.get("status")
        if fails is None:
            fails = "errorCode" in expected or "error" in expected or (status is not None and status >= 400)
            fails = fails or expected.get("success") is False or expected.get("allSucceed") is False
        for name, value in expected.items():
            met = _EXPECTATIONS[name](answer, self._filled(value))
            if not met:
                raise Failed(f"{name}: {value!r} was expected of {_short(answer)}")
        if answer["success"] == fails:
            raise Failed(f"{'success' if not fails else 'failure'} was expected of {_short(answer)}")

    def _store(self, answer: Case, expected: Case) -> None:
        found = {"storeOffsetAs": answer.get("offset"), "storeDataAs": _data(answer), "storeAs": answer}
        for name, value in found.items():
            if name in expected:
                self._known[expected.pop(name)] = value


def _with_data(operation: Case) -> Case:
    found = dict(operation)
    if "binaryData" in found:
        return {**found, "data": found.pop("binaryData"), "binary": True}
    if "json" in found:
        return {**found, "data": json.dumps(found.pop("json"))}
    return found


def _data(answer: Case) -> str:
    """All that was read, as text."""
    chunks = answer.get("chunks", ())
    return "".join(base64.b64decode(c["data"]).decode("latin-1") if c.get("binary") else c["data"] for c in chunks)


def _within(sent: Any, wanted: Case) -> bool:
    """Whether these values went with the requests; names in any case of letters."""
    found = {name.lower(): value for name, value in (sent or {}).items()}
    return all(found.get(name.lower()) == value for name, value in wanted.items())


_EXPECTATIONS: dict[str, Any] = {
    "status": lambda answer, wanted: answer.get("status") == wanted,
    "success": lambda answer, wanted: answer["success"] is wanted,
    "allSucceed": lambda answer, wanted: answer["success"] is wanted,
    "error": lambda answer, wanted: answer["success"] is not wanted,
    "errorCode": lambda answer, wanted: answer.get("errorCode") == wanted,
    "messageContains": lambda answer, wanted: all(each.lower() in answer.get("message", "").lower() for each in wanted),
    "data": lambda answer, wanted: _data(answer) == wanted,
    "dataContains": lambda answer, wanted: wanted in _data(answer),
    "dataContainsAll": lambda answer, wanted: all(each in _data(answer) for each in wanted),
    "chunkCount": lambda answer, wanted: len(answer.get("chunks", ())) == wanted,
    "minChunks": lambda answer, wanted: len(answer.get("chunks", ())) >= wanted,
    "upToDate": lambda answer, wanted: answer.get("upToDate") is wanted,
    "streamClosed": lambda answer, wanted: answer.get("streamClosed") is wanted,
    "hasOffset": lambda answer, wanted: bool(answer.get("offset")) is wanted,
    "contentType": lambda answer, wanted: answer.get("contentType") == wanted,
    "headersSent": lambda answer, wanted: _within(answer.get("headersSent"), wanted),
    "paramsSent": lambda answer, wanted: _within(answer.get("paramsSent"), wanted),
}


def _short(answer: Case) -> str:
    text = json.dumps(answer, ensure_ascii=False)
    return text if len(text) < 600 else f"{text[:600]}…"
