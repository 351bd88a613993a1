"""Encrypted sessions on a server: it keeps wrapped keys and ciphertext, and never sees what was said."""

from __future__ import annotations

import pytest
from sealing_kit import KEY, OTHER, PLANTED, messages, tell
from serving_kit import serving

from agentstream import Client, Erased, Locked
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.backends.remote import RemoteBackend
from agentstream.protocol.operations import Read


def test_a_server_keeps_what_it_cannot_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = tmp_path_factory.mktemp("served")
    with serving(store) as served:
        with Client(served.url, encrypt=KEY) as client:
            assert client.session("a").run(tell, "x") == f"{PLANTED} result"
        with Client(served.url, encrypt=KEY) as client:
            branch = client.session("a").fork("b")
            assert branch.replay(tell).identical
        with Client(served.url, encrypt=OTHER) as client, pytest.raises(Locked):
            client.session("a").replay(tell)
        backend = RemoteBackend(served.url)
        assert PLANTED.encode() not in b"".join(messages(backend, "a"))
        backend.close()
    assert not any(PLANTED.encode() in file.read_bytes() for file in store.rglob("*") if file.is_file())


def test_erasing_by_url(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = tmp_path_factory.mktemp("served")
    with serving(store) as served:
        with Client(served.url, encrypt=KEY) as client:
            client.session("a").run(tell, "x")
            client.session("a").erase(forks=True)
        with Client(served.url, encrypt=KEY) as client, pytest.raises(Erased):
            client.session("a").replay(tell)
    backend = EmbeddedBackend(store)
    assert backend.execute(Read("a")).messages
    backend.close()
