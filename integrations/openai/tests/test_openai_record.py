"""`record()` itself: what it takes, what it changes, what it keeps away from the store."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import openai
import pytest
from agentstream_openai import record
from agentstream_openai._sdk import OPENAI
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletion
from openai_kit import (
    ALL,
    CHAT,
    CHAT_STREAM,
    EMBEDDING,
    FILE,
    RESPONSE_STREAM,
    SECRET,
    async_client,
    refused,
    sync_client,
    without,
)
from sdk_kit import check_that_it_stays_what_it_is
from support.provider import Behaviour, Exchange, Provider

from agentstream import AgentStreamError, AsyncClient, Client, adapters, agent, in_run, outside_run, step
from agentstream.adapters.http import Recorded

NOWHERE = "http://127.0.0.1:1/v1"


def test_the_client_stays_what_it_is() -> None:
    with OpenAI(api_key="x", base_url=NOWHERE) as client:
        check_that_it_stays_what_it_is(record, client)


def test_proxies_are_recorded_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Provider([CHAT]) as proxy, Client(tmp_path) as store:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        with record(OpenAI(api_key="x", base_url="http://provider.invalid/v1")) as client:

            @agent
            def asks() -> str:
                return client.chat.completions.create(**CHAT.request).id

            proxy.exchanges.append(Exchange("http://provider.invalid/v1/chat/completions", *_rest(CHAT)))
            session = store.session("s")
            session.run(asks)
            assert len(session.state().steps) == 1


def _rest(exchange: Exchange) -> tuple[Any, ...]:
    return exchange.request, exchange.status, exchange.content_type, exchange.body


def test_azure(tmp_path: Path) -> None:
    path = "/openai/deployments/gpt/chat/completions"
    with Provider() as provider, Client(tmp_path) as store:
        provider.exchanges.append(Exchange(f"{path}?api-version=1", *_rest(CHAT)))
        address = provider.url.removesuffix("/v1")
        with record(AzureOpenAI(azure_endpoint=address, api_key=SECRET, api_version="1")) as client:

            @agent
            def asks() -> str:
                return client.chat.completions.create(**without(CHAT.request, "model"), model="gpt").id

            session = store.session("s")
            session.run(asks)
            [found] = session.state().steps
            assert found.name == f"POST {path}"
            assert found.kind == "model"
            assert len(session.state().messages) == 1


def test_azure_async_and_its_responses(tmp_path: Path) -> None:
    """Also where a token is fetched for each call: what the run was served needs none."""
    tokens: list[str] = []

    async def token() -> str:
        tokens.append(SECRET)
        return SECRET

    async def main() -> None:
        with Provider() as provider:
            said = Exchange("/openai/responses?api-version=1", *_rest(RESPONSE_STREAM))
            provider.exchanges.append(said)
            address = provider.url.removesuffix("/v1")
            azure = AsyncAzureOpenAI(azure_endpoint=address, azure_ad_token_provider=token, api_version="1")
            async with record(azure) as client, AsyncClient(tmp_path) as store:

                @agent
                async def asks() -> list[str]:
                    return [event.type async for event in await client.responses.create(**RESPONSE_STREAM.request)]

                session = store.session("s")
                await session.run(asks)
                [found] = (await session.state()).steps
                assert (found.kind, found.name) == ("model", "POST /openai/responses")
                assert tokens
                provider.close()
                assert (await session.replay(asks)).identical

    asyncio.run(main())
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET.encode() not in written


def test_calls_by_path(tmp_path: Path) -> None:
    with Provider([CHAT]) as provider, Client(tmp_path) as store, sync_client(provider) as client:

        @agent
        def asks() -> str:
            return client.post("/chat/completions", body=CHAT.request, cast_to=ChatCompletion).id

        session = store.session("s")
        session.run(asks)
        assert len(session.state().messages) == 1
        provider.close()
        assert session.replay(asks).identical


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_wrapper_that_records_the_model_mutes_the_transport(tmp_path: Path, *, stream: bool) -> None:
    """The same call seen by an integration of a framework and by its client is recorded once, by the outer one."""
    exchange = CHAT_STREAM if stream else CHAT
    with Provider([exchange]) as provider, Client(tmp_path) as store, sync_client(provider) as client:

        def model() -> list[str]:
            call = adapters.open_step("model", "framework", {"asked": "once"})
            if call.served is not None:
                return call.served.value()
            with adapters.muted():
                said: Any = client.chat.completions.create(**exchange.request)
                made = [chunk.id for chunk in said] if stream else [said.id]
            return call.finish(made)

        @agent
        def asks() -> list[str]:
            said: Any = client.chat.completions.create(**exchange.request)
            return [*model(), *([chunk.id for chunk in said] if stream else [said.id])]

        session = store.session("s")
        session.run(asks)
        assert sorted(found.name for found in session.state().steps) == ["POST /v1/chat/completions", "framework"]
        assert len(session.state().messages) == 1
        provider.close()
        assert session.replay(asks).identical


@pytest.mark.parametrize("odd", [None, "client", OpenAI, openai, object()])
def test_what_is_no_client_is_refused(odd: Any) -> None:
    with pytest.raises(TypeError, match=r"openai\.OpenAI or AsyncOpenAI client, not"):
        record(odd)


def test_no_secret_reaches_the_store(tmp_path: Path) -> None:
    with Provider(ALL) as provider, Client(tmp_path) as store, sync_client(provider) as client:
        provider.next += [Behaviour(), Behaviour(status=401, headers={"set-cookie": "other=cookie-of-the-error"})]

        @agent
        def asks() -> None:
            client.chat.completions.create(**CHAT.request, extra_headers={"x-custom": "custom-secret"})
            with pytest.raises(openai.AuthenticationError):
                client.embeddings.create(**EMBEDDING.request, extra_query={"api_key": "query-secret"})
            client.files.create(file=("a.txt", b"bytes-of-an-upload"), purpose="assistants")
            with client.responses.create(**RESPONSE_STREAM.request) as stream:
                next(stream)

        session = store.session("s")
        session.run(asks)
        sent = str(provider.headers)
        assert SECRET in sent
        assert "cookie-of-the-provider" in sent, "the cookie was given back to the server"
        responses = [Recorded.read(found.result, OPENAI.dictionaries) for found in session.state().steps]
        assert all(responses)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"gpt-4o" in written
    written += repr(responses).encode()  # they are compressed in the file
    assert b"x-request-id" in written
    for secret in (SECRET, "org-secret", "cookie-of", "custom-secret", "query-secret", "bytes-of-an-upload"):
        assert secret.encode() not in written


def test_inside_a_step_calls_are_part_of_it(tmp_path: Path) -> None:
    with Provider([CHAT]) as provider, Client(tmp_path) as store, sync_client(provider) as client:

        @step
        def ask() -> str:
            return client.chat.completions.create(**CHAT.request).id

        @agent
        def asks() -> list[str]:
            with outside_run():
                client.chat.completions.create(**CHAT.request)
            return [ask()]

        session = store.session("s")
        session.run(asks)
        assert [found.name for found in session.state().steps] == ["ask"]


def test_a_thread_that_lost_the_run_is_told_so(tmp_path: Path) -> None:
    with Provider([CHAT]) as provider, Client(tmp_path) as store, sync_client(provider) as client:

        def ask() -> str:
            return client.chat.completions.create(**CHAT.request).id

        @agent
        def asks() -> list[str]:
            with ThreadPoolExecutor(1) as pool:
                with refused("in_run"):
                    pool.submit(ask).result()
                return [pool.submit(in_run(ask)).result()]

        session = store.session("s")
        session.run(asks)
        assert len(provider.billed) == 1
        provider.close()
        assert session.replay(asks).identical


def test_equal_calls_of_many_threads(tmp_path: Path) -> None:
    with Provider([CHAT, EMBEDDING]) as provider, Client(tmp_path) as store, sync_client(provider) as client:
        together = threading.Barrier(4)

        def ask() -> str:
            together.wait()
            return client.chat.completions.with_raw_response.create(**CHAT.request).headers["x-request-id"]

        @agent
        def asks() -> list[str]:
            with ThreadPoolExecutor(4) as pool:
                return sorted(future.result() for future in [pool.submit(in_run(ask)) for _ in range(4)])

        session = store.session("s")
        session.run(asks)
        assert len(provider.billed) == 4
        provider.close()
        report = session.replay(asks)
        assert report.identical, report


def test_a_step_whose_result_was_replaced_by_no_response_is_refused(tmp_path: Path) -> None:
    with Provider([CHAT]) as provider, Client(tmp_path) as store, sync_client(provider) as client:

        @agent
        def asks() -> str:
            return client.chat.completions.create(**CHAT.request).id

        session = store.session("s")
        session.run(asks)
        [found] = session.state().steps
        branch = session.fork("branch", replace={found.key: "no response"})
        with refused("no HTTP response"):
            branch.run(asks)
        assert len(provider.billed) == 1


# --- web sockets ------------------------------------------------------------------------------------------------------


def _modules_with_connections() -> list[str]:
    root = Path(openai.__file__).parent
    found = [
        path
        for path in (root / "resources").rglob("*.py")
        if re.search(r"class \w+ConnectionManager\b", path.read_text())
    ]
    return [".".join(("openai", *path.relative_to(root).with_suffix("").parts)) for path in found]


def _connect(resource: Any) -> Any:
    """Calls `connect` with something for everything it asks for."""
    required = [
        name
        for name, parameter in inspect.signature(resource.connect).parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    return resource.connect(**dict.fromkeys(required, "x"))


def _resources(module: str, client: Any) -> list[Any]:
    """The resources in a module that connect, as the client would make them."""
    wanted = "AsyncAPIResource" if isinstance(client, AsyncOpenAI) else "SyncAPIResource"
    return [
        found(client)
        for found in vars(import_module(module)).values()
        if isinstance(found, type) and found.__module__ == module and hasattr(found, "connect")
        if wanted in (base.__name__ for base in found.__mro__)
    ]


def test_there_are_connections_to_refuse() -> None:
    assert "openai.resources.realtime.realtime" in _modules_with_connections()


@pytest.mark.parametrize("module", _modules_with_connections())
def test_web_sockets_are_refused_in_a_run(module: str, tmp_path: Path) -> None:
    with Provider() as provider, Client(tmp_path) as store, sync_client(provider) as client:
        resources = _resources(module, client.with_options(timeout=3))
        assert resources

        @agent
        def asks() -> None:
            for resource in resources:
                with pytest.raises(AgentStreamError, match="WebSocket"):
                    _connect(resource)
                with outside_run():
                    _connect(resource)

        store.session("s").run(asks)
        for resource in resources:
            _connect(resource)


@pytest.mark.parametrize("module", _modules_with_connections())
def test_async_web_sockets_are_refused_in_a_run(module: str, tmp_path: Path) -> None:
    async def main() -> None:
        with Provider() as provider:
            async with AsyncClient(tmp_path) as store, async_client(provider) as client:
                resources = _resources(module, client)

                @agent
                async def asks() -> None:
                    for resource in resources:
                        with pytest.raises(AgentStreamError, match="WebSocket"):
                            _connect(resource)

                await store.session("s").run(asks)
                assert resources

    asyncio.run(main())


def test_an_unrecorded_client_may_use_web_sockets_in_a_run(tmp_path: Path) -> None:
    with OpenAI(api_key="x", base_url=NOWHERE) as client, Client(tmp_path) as store:

        @agent
        def asks() -> None:
            client.realtime.connect(model="x")

        store.session("s").run(asks)


def test_uploads_are_recorded(tmp_path: Path) -> None:
    with Provider([FILE]) as provider, Client(tmp_path) as store, sync_client(provider) as client:

        @agent
        def asks() -> str:
            return client.files.create(file=("a.txt", b"four"), purpose="assistants").id

        session = store.session("s")
        session.run(asks)
        body = session.state().steps[0].input["body"]
        assert body["type"] == "multipart/form-data"
        provider.close()
        assert session.replay(asks).identical


def _answers(module: Any) -> Any:
    """A transport of this HTTP library whose responses are read before they are handed on."""
    return module.MockTransport(lambda _: module.Response(200, json={"id": "mocked", "object": "chat.completion"}))


# openai 2 takes clients of httpx, openai 3 of httpx2, and of httpx as well
LIBRARIES = ["httpx"] if openai.__version__.startswith("2.") else ["httpx", "httpx2"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_http_clients_of_ones_own(library: str, tmp_path: Path) -> None:
    module = import_module(library)
    with Client(tmp_path) as store, module.Client(transport=_answers(module)) as http:
        client = record(OpenAI(api_key="x", base_url=NOWHERE, http_client=http))

        @agent
        def asks() -> str:
            return client.chat.completions.create(**CHAT.request).id

        session = store.session("s")
        assert session.run(asks) == "mocked"
        assert session.replay(asks).identical
