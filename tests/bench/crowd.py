"""Viewers that cost next to nothing: raw sockets and one epoll loop, so that what is measured is the server.

An asyncio client spends longer on a message than the servers here do; its own queue was most of the delay it told.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Self

import numpy as np

from tests.bench.fanout_servers import SIZE

HEAD = 4
FRAME = SIZE + HEAD
STAMP = slice(HEAD + 6, HEAD + 25)
"""Where a frame tells when it was made: after its header and `{"at":`."""
READ = 1 << 18


class Crowd:
    """`count` WebSocket clients on the loopback. `hear` reads until all has come; then ask it what it saw."""

    def __init__(self, port: int, path: str, count: int) -> None:
        self.bytes = 0
        self.delays_ns: list[int] = []
        self._poll = select.epoll()
        self._sockets = [_join(port, path) for _ in range(count)]
        self._reads = {one.fileno(): one.recv_into for one in self._sockets}
        self._part: dict[int, bytes] = {}
        for number in self._reads:
            self._poll.register(number, select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()
        for one in self._sockets:
            one.close()

    @property
    def frames(self) -> int:
        return self.bytes // FRAME

    def hear(self, wanted: Callable[[], int], within_s: float) -> None:
        """Read until `wanted` frames have come, or the time is over."""
        buffer, deadline = bytearray(READ), time.monotonic() + within_s
        reads, delays, now_ns = self._reads, self.delays_ns, time.monotonic_ns
        while self.frames < wanted() and time.monotonic() < deadline:
            for number, _ in self._poll.poll(0.05):
                length, now = reads[number](buffer), now_ns()
                if length == 0:
                    raise ConnectionError("the server let a viewer go")
                self.bytes += length
                if length == FRAME and number not in self._part:
                    delays.append(now - int(buffer[STAMP]))
                else:
                    self._pieces(number, bytes(buffer[:length]), now)

    def _pieces(self, number: int, data: bytes, now: int) -> None:
        data = self._part.pop(number, b"") + data
        whole = len(data) - len(data) % FRAME
        self.delays_ns += [now - int(data[at:][STAMP]) for at in range(0, whole, FRAME)]
        if whole < len(data):
            self._part[number] = data[whole:]

    def delay_ms(self, percentile: float) -> float:
        return float(np.percentile(self.delays_ns, percentile)) / 1e6


def _join(port: int, path: str) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    one.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += one.recv(1)
    assert b" 101 " in answer, answer
    one.setblocking(False)
    return one
