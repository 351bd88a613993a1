"""Who may ask the inspector, and what a browser is told of what it answers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from inspector_kit import ORIGIN, TOKEN, Page, looked

from agentstream.inspector import files
from agentstream.inspector.routes import ROUTES


def test_every_route_takes_the_token(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        for path, methods in ROUTES.items():
            for method in methods:
                for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
                    request = httpx.Request(method, f"{ORIGIN}/api/{path}", headers=headers)
                    answer = await page.http.send(request)
                    assert answer.status_code == 401, path
                    assert answer.json()["error"]["code"] == "unauthorized"
        assert (
            await page.http.get("/api/about", params={"token": TOKEN}, headers={"authorization": ""})
        ).status_code == 401

    looked(recorded_store, test)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": ""},
        {"host": "["},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9"},
        {"origin": "http://localhost:4438"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_names_and_other_pages_are_refused(recorded_store: Path, headers: dict[str, str]) -> None:
    async def test(page: Page) -> None:
        for path in ("/api/about", "/", "/assets/page.js"):
            answer = await page.http.get(path, headers=headers)
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers

    looked(recorded_store, test)


def test_the_page_itself_is_answered(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        own = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        answer = await page.http.get("/api/about", headers=own)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "DENY"

    looked(recorded_store, test)


def test_a_peer_of_another_machine_is_refused(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        app = page.http._transport.app  # type: ignore[attr-defined]
        far = httpx.ASGITransport(app=app, client=("192.0.2.7", 5))
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=far, base_url=ORIGIN, headers=headers) as http:
            assert (await http.get("/api/about")).status_code == 403

    looked(recorded_store, test)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_another_page_is_no_request(recorded_store: Path, kind: str) -> None:
    async def test(page: Page) -> None:
        body = b'{"session": "support/42", "as": "x"}'
        answer = await page.http.post("/api/fork", content=body, headers={"content-type": kind})
        assert answer.status_code == 415

    looked(recorded_store, test)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"session": 1}', b"\xff", b'{"session": "a", "at": "x"}'])
def test_a_body_that_is_none_is_refused(recorded_store: Path, body: bytes) -> None:
    async def test(page: Page) -> None:
        answer = await page.http.post("/api/fork", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")

    looked(recorded_store, test)


def test_the_policy_of_the_page_lets_nothing_in(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        answer = await page.http.get("/", headers={"authorization": ""})
        assert answer.status_code == 200
        parts = answer.headers["content-security-policy"].split("; ")
        none = [part.removesuffix(" 'none'") for part in parts if part.endswith("'none'")]
        assert set(none) == {"default-src", "base-uri", "form-action", "frame-ancestors"}
        own = [part.removesuffix(" 'self'") for part in parts if part.endswith(" 'self'")]
        assert set(own) == {"script-src", "style-src", "connect-src", "worker-src"}
        assert [part for part in parts if part.startswith("img-src")] == ["img-src 'self' data:"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "<script>" not in answer.text
        assert "style=" not in answer.text

    looked(recorded_store, test)


def test_files_are_those_of_the_page_and_no_others(recorded_store: Path, tmp_path: Path) -> None:
    async def test(page: Page) -> None:
        for path in files.names():
            assert (await page.http.get(path)).status_code == 200
        for path in (
            "/../service.py",
            "/assets/../../service.py",
            "/assets/%2e%2e/%2e%2e/service.py",
            "/..%2fservice.py",
            "/assets",
            "/assets/",
            "//etc/passwd",
            "/index.html/",
            "/assets\\..\\..\\service.py",
            "/%00",
            "/" + "a" * 10_000,
        ):
            assert (await page.http.send(httpx.Request("GET", f"{ORIGIN}{path}"))).status_code == 404, path
        assert (await page.http.post("/", json={})).status_code == 405

    looked(recorded_store, test)


def test_front_ends_are_served_with_the_same_token(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        for form in ("ag-ui", "ai-sdk"):
            path = f"/v1/session/support/42/{form}?startIndex=0"
            answer = await page.http.get(path, headers={"accept": "text/event-stream"})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert (await page.http.get(path, headers={"authorization": "Bearer wrong-token"})).status_code == 401
            assert (await page.http.get(path, headers={"origin": "https://evil.example"})).status_code == 403

    looked(recorded_store, test)
