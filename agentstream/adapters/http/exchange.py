"""One HTTP exchange as a step: asked before, served or sent, recorded before it is handed on."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from agentstream import adapters
from agentstream.adapters.http.again import fetching, left
from agentstream.adapters.http.body import Recorded, safe_headers
from agentstream.adapters.http.driving import adrive, drive
from agentstream.adapters.http.ports import AsyncPorts, SyncPorts
from agentstream.adapters.http.request import describe, is_retry
from agentstream.adapters.http.stream import Played, Tee
from agentstream.adapters.http.watching import Watch
from agentstream.errors import AgentStreamError

if TYPE_CHECKING:
    from agentstream.adapters.http.driving import Steps
    from agentstream.adapters.http.ports import Library
    from agentstream.adapters.http.sdk import Sdk


class RecordingTransport:
    """Stands in the place of an HTTP client's transport and hands on what that gives, as steps of the run."""

    def __init__(self, inner: Any, library: Library, sdk: Sdk, *, is_async: bool) -> None:
        self.inner = inner
        self._sdk = sdk
        self._library = library
        self._ports: Any = AsyncPorts(inner) if is_async else SyncPorts(inner)

    def handle_request(self, request: Any) -> Any:
        return drive(self._exchange(request))

    async def handle_async_request(self, request: Any) -> Any:
        return await adrive(self._exchange(request))

    def __enter__(self) -> RecordingTransport:
        self.inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.inner.__exit__(*error)

    async def __aenter__(self) -> RecordingTransport:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.inner.__aexit__(*error)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _exchange(self, request: Any) -> Steps[Any]:
        try:
            if not adapters.recording():
                return (yield lambda: self._ports.send(request))
            call = yield from self._open(request)
        except AgentStreamError as error:
            raise self._sdk.not_recorded(str(error)) from error
        if call.served is not None:
            if call.served.cancelled and call.served.result is None:
                yield self._ports.cancelled
            return self._serve(call, call.served)
        if call.changed is not None:
            request = _changed(call, request)
        response = yield from self._fetch(call, request)
        if response is None:
            response = yield from self._send(call, request)
        return (yield from self._record(call, request, response))

    def _open(self, request: Any) -> Steps[adapters.StepCall]:
        content = yield lambda: self._ports.read(request)
        url = request.url
        content_type = request.headers.get("content-type", "")
        asked = describe(self._sdk, request.method, url.path, url.query.decode(), content_type, content)
        retry = is_retry(request.headers.get("x-stainless-retry-count"))
        return (
            yield lambda: self._ports.open(
                asked.kind,
                asked.name,
                asked.input,
                fingerprint=asked.fingerprint,
                retry=retry,
                changeable=("system",) if url.path.endswith("/messages") else True,
            )
        )

    def _fetch(self, call: adapters.StepCall, request: Any) -> Steps[Any]:
        """The answer that an earlier attempt asked for, where the provider still has it."""
        place = left(call)
        if place is None:
            return None
        response = yield from self._send(call, fetching(request, place))
        if response.status_code != 404:
            return response
        yield lambda: self._ports.close(response)
        return None

    def _send(self, call: adapters.StepCall, request: Any) -> Steps[Any]:
        try:
            return (yield lambda: self._ports.send(request))
        except Exception as error:
            failure = error  # a name of its own: `error` is gone when the function below is called
            yield lambda: self._ports.fail(call, failure)
            raise
        except asyncio.CancelledError:
            call.cancel()
            raise
        except BaseException:
            call.abandon()
            raise

    def _record(self, call: adapters.StepCall, request: Any, response: Any) -> Steps[Any]:
        """The response with its body recorded while it passes; one that says an error is read at once, as it is small
        and the SDK may throw it away unread. So is one of which something may be taken out: code gets what is recorded.
        """
        watch = Watch(self._sdk, request.url.path, response.headers.get("content-type", ""))
        recorded = Recorded(response.status_code, safe_headers(response.headers, self._sdk.header_prefixes))
        body: Any = Tee(self._sdk, call, response, recorded, watch, self._ports)
        if response.status_code >= 400 or call.redacts:
            failure = yield from self._read(body, call)
            yield lambda: self._ports.close(response)
            body = Played(call, recorded, failure, self._ports)
        headers = [*recorded.headers.items()]
        # a cookie is a matter between this client and its server: handed on, never stored
        headers += [("set-cookie", cookie) for cookie in response.headers.get_list("set-cookie")]
        return self._response(recorded.status, headers, body, response.extensions)

    def _read(self, body: Tee, call: adapters.StepCall) -> Steps[Exception | None]:
        """Reads a body to its end; where something may be taken out of it, what comes of it is played like a record."""
        try:
            while (yield from body.next_chunk()) is not None:
                pass
        except Exception as error:
            if not call.redacts:
                raise
            return error
        return None

    def _serve(self, call: adapters.StepCall, served: adapters.Served) -> Any:
        recorded = Recorded.read(served.result, self._sdk.dictionaries)
        error = served.error.exception() if served.error is not None else None
        if recorded is None:
            if error is not None:
                raise error
            raise self._sdk.not_recorded(
                f"the outcome of step {call.key} is no HTTP response, so the {self._sdk.name} client cannot be served "
                "from it"
            )
        headers = [*recorded.headers.items()]
        if recorded.status >= 400:
            headers.append(("x-should-retry", "false"))  # every retry is behind it already
        return self._response(
            recorded.status, headers, Played(call, recorded, error, self._ports), {"http_version": b"HTTP/1.1"}
        )

    def _response(self, status: int, headers: list[tuple[str, str]], body: Any, extensions: Any) -> Any:
        return self._library.Response(
            status, headers=headers, stream=self._library.Stream(body), extensions=dict(extensions)
        )


def _changed(call: adapters.StepCall, request: Any) -> Any:
    """The request as it is to be sent instead. It was read, and is a JSON object: else nothing could be changed."""
    assert call.changed is not None
    body = json.dumps(call.changed.applied(json.loads(request.content))).encode()
    framing = (b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in request.headers.raw if name.lower() not in framing]
    return type(request)(request.method, request.url, headers=headers, content=body, extensions=request.extensions)
