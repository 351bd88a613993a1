"""A server of raw bytes: each request is answered with the next of what it was told to say, whatever that is.

`CLOSE` at the end of an answer closes the connection after it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Any

CLOSE = b"\0close"
TOLD = b"stream-next-offset: 7\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + TOLD + b"content-length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n" + TOLD + b"\r\n"


class ScriptedServer:
    """`url` is its root. `connections` counts those it took, `heads` are the requests' first lines and headers."""

    def __init__(self, answers: Iterable[bytes], *, reads_bodies: bool = True) -> None:
        self._answers: Iterator[bytes] = iter(answers)
        self._reads_bodies = reads_bodies
        self.heads: list[str] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            try:
                while self._asked(file):
                    with self._lock:
                        answer = next(self._answers, None)
                    if answer is None:
                        return
                    connection.sendall(answer.removesuffix(CLOSE))
                    if answer.endswith(CLOSE):
                        return
            except OSError:
                return

    def _asked(self, file: Any) -> bool:
        lines: list[str] = []
        while line := file.readline().decode("latin-1").strip():
            lines.append(line.lower() if lines else line)
        if not lines:
            return False
        self.heads.append("\n".join(lines))
        length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
        if self._reads_bodies:
            file.read(length)
        return True

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()
        for connection in self._open:
            connection.close()
