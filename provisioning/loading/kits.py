"""Kits that measure a known curve, keep and resend what is not acknowledged, and remember what was acknowledged."""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from core.contracts.topics import Lane, topic
from provisioning.loading.mqtt import Connection

STEP_MS = 10
AGAIN_AFTER_S = 3.0
WINDOW = 200
"""Old messages resent at once, like a kit's outbox does."""
CONNECT_WITHIN_S = 4.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def curve(number: int) -> float:
    """The value measured at a step, computable by anyone, so that what is read back can be verified."""
    return round(9.81 + 0.05 * math.sin(number * 0.31) + 0.001 * (number % 97), 6)


@dataclass
class Tally:
    """What all kits experienced together. Delays in ms, from sending to acknowledgement."""

    sent: int = 0
    again: int = 0
    acked: int = 0
    rejected: int = 0
    connections: int = 0
    delays: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Kept:
    """An unacknowledged message: when it was made, from which delays count, and when it was last sent."""

    made: float
    sent: float
    body: bytes


class Kit:
    """One kit. `run` lasts until its measuring is over and, if possible, everything is acknowledged."""

    def __init__(self, name: str, brokers: list[str], tally: Tally, *, per_batch: int, rate_hz: float) -> None:
        self.name = name
        self.session = str(uuid4())
        self.boot = uuid4().hex
        self.per_batch = per_batch
        self.every_s = per_batch / rate_hz
        self.start_ms = 0
        self.batches = 0
        self.measuring = True
        self.told: set[int] = set()
        self._brokers = brokers
        self._tally = tally
        self._kept: dict[int, Kept] = {}
        self._seq = 0
        self._connection: Connection | None = None
        self._last: asyncio.Future[None] | None = None
        self._known: asyncio.Future[None] | None = None

    @property
    def known(self) -> asyncio.Future[None]:
        """Completed when the relay has confirmed the session."""
        if self._known is None:
            self._known = asyncio.get_running_loop().create_future()
        return self._known

    @property
    def waiting(self) -> int:
        """Number of unacknowledged messages."""
        return len(self._kept)

    async def run(self, seconds: float, patience_s: float) -> None:
        link = asyncio.create_task(self._stay_connected())
        try:
            await asyncio.sleep(random.random() * self.every_s)  # noqa: S311  kits do not beat in step
            await self._measure(seconds)
            self._last = asyncio.get_running_loop().create_future()
            if self._kept:
                await asyncio.wait([self._last], timeout=patience_s)
        finally:
            link.cancel()
            await asyncio.gather(link, return_exceptions=True)

    async def _measure(self, seconds: float) -> None:
        now_ms = time.time_ns() // 1_000_000
        self.start_ms = now_ms - now_ms % STEP_MS
        moment = datetime.fromtimestamp(self.start_ms / 1000, UTC).isoformat()
        device = {"userAgent": "homeside load", "platform": "load"}
        self._say("session_started", {"startedAt": moment, "device": device, "unit": "m/s2"})
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            first = self.batches * self.per_batch
            samples = [
                {"t": self.start_ms + STEP_MS * n, "ax": 0.0, "ay": 0.0, "az": curve(n)}
                for n in range(first, first + self.per_batch)
            ]
            self.batches += 1
            due = began + self.batches * self.every_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._say("samples_batch", {"samples": samples})
        self.measuring = False

    def _say(self, kind: str, payload: dict[str, object]) -> None:
        self._seq += 1
        number = {"session": self.session, "boot": self.boot, "seq": self._seq}
        body = _encode({"type": kind, **number, "payload": payload})
        now = time.monotonic()
        self._kept[self._seq] = Kept(now, now, body)
        self._tally.sent += 1
        if self._connection is not None:
            self._connection.publish(topic(self.name, Lane.LIVE), body)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        turn = random.randrange(len(self._brokers))  # noqa: S311  spread over the brokers
        while True:
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    connection = await self._connect(self._brokers[turn % len(self._brokers)])
            except (OSError, TimeoutError):
                turn += 1
                await asyncio.sleep(0.2 + random.random() * 0.3)  # noqa: S311  not all at once
                continue
            try:
                await self._live_with(connection)
            finally:
                self._connection = None
                connection.close()
            turn += 1

    async def _connect(self, broker: str) -> Connection:
        where = urlsplit(broker)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(f"{self.name}:{uuid4().hex[:6]}", self._heard, where.password or ""),
            where.hostname or "127.0.0.1",
            where.port or 1883,
        )
        await connection.up
        connection.subscribe(topic(self.name, Lane.ACK))
        self._tally.connections += 1
        return connection

    async def _live_with(self, connection: Connection) -> None:
        for kept in self._kept.values():
            kept.sent = 0.0
        self._connection = connection
        while not connection.closed.done():
            self._send_again(connection)
            await asyncio.wait([connection.closed], timeout=1.0)
            connection.beat()

    def _send_again(self, connection: Connection) -> None:
        now = time.monotonic()
        for kept in [one for one in self._kept.values() if now - one.sent > AGAIN_AFTER_S][:WINDOW]:
            kept.sent = now
            self._tally.again += 1
            connection.publish(topic(self.name, Lane.BACKFILL), kept.body)

    def _heard(self, data: bytes) -> None:
        said = _decode(data)
        payload = said["payload"]
        if said["type"] == "reject":
            self._tally.rejected += 1
        elif said["type"] == "ack" and payload["boot"] == self.boot:
            now = time.monotonic()
            for start, end in payload["seq"]:
                for seq in range(start, end + 1):
                    self._acknowledged(seq, now)

    def _acknowledged(self, seq: int, now: float) -> None:
        found = self._kept.pop(seq, None)
        if found is None:
            return
        self.told.add(seq)
        if not self.known.done():
            self.known.set_result(None)
        if not self._kept and self._last is not None and not self._last.done():
            self._last.set_result(None)
        self._tally.acked += 1
        self._tally.delays.append((now - found.made) * 1000)
