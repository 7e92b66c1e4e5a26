"""One relay's connection to the cluster's NATS. Reconnects for ever, to whichever server answers.

While disconnected, outgoing messages wait in a bounded queue; when it overflows, the oldest are dropped and counted.
Nothing sent here is durable: what must be goes to the stream or the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import nats
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from relay.errors import SettingsError
from relay.process.metrics import Metrics

QUEUE = 20_000
CONNECT_WITHIN_S = 2.0
RETRY_S = 0.2
PING_EVERY_S = 1
"""A frozen server is noticed after two missed pings; a network partition by itself closes no connection."""
SCHEMES = ("nats", "tls")

Heard = Callable[[Msg], Awaitable[None]]
log = structlog.get_logger(__name__)


def is_cluster(url: str) -> bool:
    return urlsplit(url).scheme in SCHEMES


def servers(url: str) -> list[str]:
    """nats://user:password@a:4222,b:4222 as one URL per server. Raises SettingsError, which shows a valid example."""
    scheme, _, rest = url.partition("://")
    login, at, hosts = rest.rpartition("@")
    found = [f"{scheme}://{login}{at}{host.strip()}" for host in hosts.rstrip("/").split(",") if host.strip()]
    if scheme not in SCHEMES or not found:
        raise SettingsError("mqtt.url: expected nats://[user:password@]host:4222[,host:4222…] or tls://… for a cluster")
    return found


class Link:
    """`run` connects and stays connected; `say` never waits; `hear` may be called at any time."""

    def __init__(self, url: str, name: str, metrics: Metrics) -> None:
        self.name = name
        self._servers = servers(url)
        self._metrics = metrics
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._work = asyncio.Event()
        self._client: Client | None = None
        self.connected = asyncio.Event()
        self.on_return: list[Callable[[], None]] = []

    @property
    def client(self) -> Client:
        """The NATS client. Raises NatsError before the first connection."""
        if self._client is None:
            raise NatsError("not connected yet")
        return self._client

    @property
    def stream(self) -> JetStreamContext:
        return self.client.jetstream(timeout=2.0)

    def say(self, subject: str, payload: bytes) -> None:
        """Queue a message for whoever listens now; delivered at most once."""
        if len(self._outgoing) >= QUEUE:
            self._outgoing.popleft()
            self._metrics.bus_dropped.inc()
        self._outgoing.append((subject, payload))
        self._work.set()

    async def hear(self, subject: str, heard: Heard) -> Subscription:
        await self.connected.wait()
        return await self.client.subscribe(subject, cb=heard, pending_msgs_limit=65_536)

    async def run(self) -> None:
        await self._connect()
        while True:
            await self._work.wait()
            self._work.clear()
            await self._send()

    async def _send(self) -> None:
        while self._outgoing:
            await self.connected.wait()
            subject, payload = self._outgoing.popleft()
            try:
                await self.client.publish(subject, payload)
            except NatsError as error:
                self._metrics.bus_dropped.inc()
                log.warning("said_to_nobody", subject=subject, error=type(error).__name__)

    async def _connect(self) -> None:
        """Try until a server answers; from then on the client library reconnects by itself."""
        if self._client is not None:
            return
        told = ""

        async def lost() -> None:
            await self._heard(connected=False)

        async def back() -> None:
            await self._heard(connected=True)

        async def failed(error: Exception) -> None:
            nonlocal told
            text = str(error) or type(error).__name__
            if text != told and not self.connected.is_set():
                told = text
                log.warning("bus_lost", error=text, retry_s=RETRY_S)

        self._client = await nats.connect(
            self._servers,
            name=self.name,
            no_echo=True,
            connect_timeout=CONNECT_WITHIN_S,
            reconnect_time_wait=RETRY_S,
            max_reconnect_attempts=-1,
            ping_interval=PING_EVERY_S,
            max_outstanding_pings=2,
            disconnected_cb=lost,
            reconnected_cb=back,
            error_cb=failed,
        )
        await self._heard(connected=True)

    async def _heard(self, *, connected: bool) -> None:
        if not connected:
            self.connected.clear()
            log.warning("bus_lost", error="disconnected", retry_s=RETRY_S)
            return
        self.connected.set()
        log.info("bus_linked", server=str(self.client.connected_url.netloc if self.client.connected_url else ""))
        for tell in self.on_return:
            tell()

    async def close(self) -> None:
        """Send what still waits, and disconnect."""
        if self._client is not None:
            if self.connected.is_set():
                await self._send()
                await self._client.flush(1)
            self.connected.clear()
            await self._client.close()
