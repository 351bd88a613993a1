"""TLS, and proxies of the environment: what goes by way of httpx."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agentstream.backends.remote.exchange import Backoff
from agentstream.errors import Unavailable
from agentstream.protocol.operations import Head


@contextmanager
def answering(context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that says of everything that it is there; the host and port of it, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Stream-Next-Offset", "7")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def certified(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS for the loopback, and the file by which clients know it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    begun = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begun - datetime.timedelta(days=1))
        .not_valid_after(begun + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "server.pem", folder / "server.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, str(pem)


def test_tls_is_checked(face: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, known = certified(tmp_path)
    with answering(context) as (place, asked):
        stranger = face.backend(f"https://{place}/v1", backoff=Backoff(tries=1))
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            face.do(stranger, Head("s"))
        assert not asked
        monkeypatch.setenv("SSL_CERT_FILE", known)
        assert face.do(face.backend(f"https://{place}/v1"), Head("s")).offset == "7"


def test_a_proxy_of_the_environment_is_used(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as (place, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://{place}")
        monkeypatch.setenv("http_proxy", f"http://{place}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert face.do(face.backend("http://streams.example/v1"), Head("s")).offset == "7"
        assert asked == ["http://streams.example/v1/s"]
