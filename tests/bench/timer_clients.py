"""Clients that cost as little as can be: HTTP over kept connections, and sockets that note when events came."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import time
from collections import deque
from typing import Any

import uvloop

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
PING, PONG = 0x89, 0x8A
_NOMINAL = re.compile(rb'"type":"TIME_[A-Z]+".*?"server_time_ms":(\d+)')


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection; `ask` gives status and body, one request at a time."""

    def __init__(self) -> None:
        self.waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self.left = b""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.left += data
        head, found, body = self.left.partition(b"\r\n\r\n")
        if not found or (length := _LENGTH.search(head)) is None or len(body) < int(length[1]):
            return
        self.left = b""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self.waiting is not None:
            self.waiting.set_exception(ConnectionError("the relay closed the connection"))

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)  # type: ignore[attr-defined]
        return self.waiting


class Nothing(asyncio.Protocol):
    """The other side of the scale: answers every request with the same bytes, and does nothing."""

    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.ANSWER)  # type: ignore[attr-defined]


class Pool:
    """Some connections to one relay, each used by one at a time."""

    def __init__(self, port: int, bearer: str) -> None:
        self.port, self.bearer = port, bearer
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {bearer}\r\n"
        self._free: asyncio.Queue[Connection] = asyncio.Queue()

    async def open(self, count: int) -> None:
        for _ in range(count):
            self._free.put_nowait(await self._connect())

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.port)
        return connection

    async def _take(self) -> Connection:
        """A free connection, made anew where it rested so long that the relay closed it."""
        connection = await self._free.get()
        return await self._connect() if connection.closed else connection

    def request(self, method: str, path: str, body: Any = None) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        return f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(content)}\r\n\r\n".encode() + content

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        connection = await self._take()
        try:
            return await connection.ask(request)
        finally:
            self._free.put_nowait(connection)

    async def all(self, requests: list[bytes], wanted: int) -> None:
        """Every request, as fast as the connections go; each has to be answered with `wanted`."""
        todo = deque(requests)

        async def work() -> None:
            connection = await self._take()
            while todo:
                status, body = await connection.ask(todo.popleft())
                assert status == wanted, (status, body)
            self._free.put_nowait(connection)

        await asyncio.gather(*(work() for _ in range(self._free.qsize())))


class Listener(asyncio.Protocol):
    """A socket that counts updates, and notes how long after its nominal moment a deadline's event came."""

    def __init__(self, port: int, path: str, session: str, came: dict[str, float] | None) -> None:
        self.port, self.path, self.session, self.came = port, path, session, came
        self.updates = 0
        self.heard: list[float] = []
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport = transport
        transport.write(  # type: ignore[attr-defined]
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.time() * 1000
        if not self.opened.done():
            assert b" 101 " in data, data
            self.opened.set_result(None)
        if data[0] == PING:
            size = data[1]
            self.transport.write(bytes([PONG, 0x80 | size, 0, 0, 0, 0]) + data[2 : 2 + size])  # type: ignore[attr-defined]
        updates = data.count(b'"type":"SESSION_UPDATE"')
        self.updates += updates
        if updates and self.came is not None:
            self.came[self.session] = time.perf_counter()
        self.heard.extend(now - int(nominal) for nominal in _NOMINAL.findall(data))


async def serve_nothing(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Nothing, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve_nothing(int(sys.argv[1])))
