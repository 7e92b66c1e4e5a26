"""Accepts connections while there is room, per address and in total, before TLS; a refused client is told why.

A process has a limited number of descriptors. Listeners share part of them; the rest is kept for the database, videos
and other files, so that a flood of connections never takes the descriptor of a file that a sample is written to.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from relay.process.metrics import Metrics
from relay.settings import is_loopback

HANDSHAKE_WITHIN_S = 10.0
"""From the connection to the end of its TLS handshake."""
BACKLOG = 2048
AT_ONCE = 64
"""Connections accepted before other tasks get a turn; the kernel holds the others meanwhile."""
TOLD_WITHIN_S = 2.0
MOST_DESCRIPTORS = 1_048_576
REST_S = 0.5
"""Pause after the system had no descriptor left, before accepting again."""
SAY_EVERY_S = 10.0
"""Least time between two log lines about refusals: a flood of connections must not flood the log."""

log = structlog.get_logger(__name__)


class NoRoom(StrEnum):
    """Why a connection is refused; the values are labels of a metric."""

    ADDRESS = "address_full"
    RELAY = "relay_full"
    SYSTEM = "no_descriptors"


ANSWERS = {
    NoRoom.ADDRESS: (429, "Too many connections from this address. Close some, or try again later."),
    NoRoom.RELAY: (503, "Every connection this relay can hold is taken. Try again later."),
}


class Room:
    """The limit on connections of several listeners together.

    A few more (`told_at_once`) may stay for a moment to be told that it is full; any beyond are closed without an
    answer.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.told_at_once = min(64, max(1, most // 8))
        self.taken = 0
        self.telling = 0


class Places:
    """Limits connections per address. This machine's own count only towards the `room` that listeners share."""

    def __init__(self, per_address: int, room: Room | None = None) -> None:
        self._per_address = per_address
        self.room = room or Room(MOST_DESCRIPTORS)
        self._taken: Counter[str] = Counter()

    def lack(self, address: str) -> NoRoom | None:
        """Why no further connection from this address is accepted; None when it is."""
        if self.room.taken >= self.room.most:
            return NoRoom.RELAY
        full = self._taken[address] >= self._per_address and not is_loopback(address)
        return NoRoom.ADDRESS if full else None

    def enter(self, address: str) -> Callable[[], None]:
        """Take a place. Call the returned function to leave it; calling it again does nothing."""
        self._taken[address] += 1
        self.room.taken += 1
        left = False

        def leave() -> None:
            nonlocal left
            if left:
                return
            left = True
            self.room.taken -= 1
            self._taken[address] -= 1
            if self._taken[address] <= 0:
                del self._taken[address]

        return leave

    def __len__(self) -> int:
        return sum(self._taken.values())


class Porter:
    """Accepts connections of one listening socket, as `asyncio.Server` does, while there is room.

    `make` is given the function that leaves the place, and returns the connection's protocol, which must call it when
    the connection is lost. With `answers`, a client that finds no room gets an HTTP answer.
    """

    def __init__(
        self,
        bound: socket.socket,
        places: Places,
        metrics: Metrics,
        make: Callable[[Callable[[], None]], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
        answers: bool = True,
    ) -> None:
        self._bound, self._places, self._metrics, self._make = bound, places, metrics, make
        self._tls, self._answers = tls, answers
        self._loop = asyncio.get_running_loop()
        self._seating: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._say_after = 0.0
        bound.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more; connections still in their handshake, or being refused, are dropped."""
        if self._again is not None:
            self._again.cancel()
        if self._bound.fileno() >= 0:
            self._loop.remove_reader(self._bound)
            self._bound.close()
        for task in self._seating:
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._seating, return_exceptions=True)

    def _listen(self) -> None:
        self._again = None
        self._loop.add_reader(self._bound, self._arrivals)

    def _arrivals(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, source = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._refused(NoRoom.SYSTEM, error.strerror or "")
                self._loop.remove_reader(self._bound)
                self._again = self._loop.call_later(REST_S, self._listen)
                return
            self._arrived(connection, str(source[0]) if source else "")

    def _arrived(self, connection: socket.socket, address: str) -> None:
        connection.setblocking(False)
        lack = self._places.lack(address)
        if lack is None:
            self._begin(self._seat(connection, self._places.enter(address)))
            return
        self._refused(lack, address)
        room = self._places.room
        if self._answers and room.telling < room.told_at_once:
            room.telling += 1
            self._begin(self._tell(connection, lack))
        else:
            connection.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._seating.add(task)
        task.add_done_callback(self._seating.discard)

    async def _seat(self, connection: socket.socket, leave: Callable[[], None]) -> None:
        seated = False
        try:
            await self._connect(connection, lambda: self._make(leave))
            seated = True
        except OSError:
            self._metrics.connections_ended.labels("handshake").inc()
        finally:
            if not seated:
                leave()
                connection.close()

    async def _tell(self, connection: socket.socket, lack: NoRoom) -> None:
        told = _Told(*ANSWERS[lack])
        try:
            async with asyncio.timeout(TOLD_WITHIN_S):
                await self._connect(connection, lambda: told)
                await told.ended.wait()
        except OSError:  # includes TimeoutError and ssl.SSLError
            told.abort()
        finally:
            self._places.room.telling -= 1

    async def _connect(self, connection: socket.socket, make: Callable[[], asyncio.BaseProtocol]) -> None:
        within_s = HANDSHAKE_WITHIN_S if self._tls else None
        await self._loop.connect_accepted_socket(make, connection, ssl=self._tls, ssl_handshake_timeout=within_s)

    def _refused(self, why: NoRoom, source: str) -> None:
        self._metrics.connections_refused.labels(why).inc()
        if self._loop.time() >= self._say_after:
            self._say_after = self._loop.time() + SAY_EVERY_S
            log.warning("connection_refused", why=why.value, source=source, connections=len(self._places))


class _Told(asyncio.Protocol):
    """Answers after reading the request: closing a connection with unread data would reset it, and lose the answer."""

    def __init__(self, status: int, text: str) -> None:
        body = f'{{"detail":"{text}"}}'
        reason = {429: "Too Many Requests", 503: "Service Unavailable"}[status]
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._answer = f"{head}Retry-After: 10\r\nConnection: close\r\n\r\n{body}".encode()
        self._transport: asyncio.Transport | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._answer)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True, slots=True)
class Rooms:
    """Listeners' shares of this process's descriptors: half for pages and viewers, a quarter for kits."""

    web: Room
    kits: Room


def rooms() -> Rooms:
    """Raise the limit of descriptors as far as the system allows, and share them out."""
    most = _descriptors()
    return Rooms(Room(most // 2), Room(most // 4))


def _descriptors() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    had = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_DESCRIPTORS if had == resource.RLIM_INFINITY else min(had, MOST_DESCRIPTORS)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; an empty host means every address of this machine. Raises OSError."""
    every = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if every or ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=every)
