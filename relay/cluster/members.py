"""Heartbeats between relays: who is there, whose turn it is, and one common timescale for timers.

The timescale is that of the senior relay, measured by asking it (Cristian 1989). A relay that joins adopts it at once,
then follows it so slowly that no timer shows it. A step of any machine's wall clock has no effect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from relay.clock import SteadyClock
from relay.cluster import subjects
from relay.cluster.link import Link
from relay.cluster.ranks import Roll
from relay.process.metrics import Metrics

HEARTBEAT_S = 0.25
COMPARE_EVERY_S = 20.0
ASKED_TIMES = 5
ANSWER_WITHIN_S = 0.3
MOST_SLEW_NS = 1_000_000
"""The most that one comparison moves the timescale: 1 ms in 20 s is 50 ppm, the error of a cheap crystal."""

log = structlog.get_logger(__name__)


class _Alive(msgspec.Struct):
    relay: str
    since_ns: int
    leaving: bool = False


class Members:
    """`run` sends and receives heartbeats. The callbacks in `on_gone` get the name of each relay that left."""

    def __init__(self, link: Link, steady: SteadyClock, metrics: Metrics) -> None:
        self.roll = Roll(link.name)
        self._link = link
        self._steady = steady
        self._metrics = metrics
        self._since_ns = time.time_ns()
        self._seniors: dict[str, int] = {}
        self.on_gone: list[Callable[[str], None]] = []

    def rank(self, key: str) -> int:
        return self.roll.rank(key)

    async def run(self) -> None:
        await self._link.hear(subjects.ALIVE, self._heard)
        await self._link.hear(subjects.clock(self._link.name), self._tell_time)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            while True:
                self._say()
                self._strike_off()
                await asyncio.sleep(HEARTBEAT_S)

    def leave(self) -> None:
        """Tell the others at an orderly end, so that they need not wait for the heartbeats to stop."""
        self._link.say(subjects.ALIVE, msgspec.json.encode(_Alive(self._link.name, self._since_ns, leaving=True)))

    def _say(self) -> None:
        if self._link.connected.is_set():
            self._link.say(subjects.ALIVE, msgspec.json.encode(_Alive(self._link.name, self._since_ns)))

    async def _heard(self, message: Msg) -> None:
        said = msgspec.json.decode(message.data, type=_Alive)
        if said.leaving:
            self.roll.heard_ms.pop(said.relay, None)
            self._lost(said.relay)
        elif self.roll.heard(said.relay, time.monotonic() * 1000):
            self._seniors[said.relay] = said.since_ns
            log.info("relay_joined", relay=said.relay)
        self._metrics.relays.set(len(self.roll.present))

    def _strike_off(self) -> None:
        for relay in self.roll.gone(time.monotonic() * 1000):
            self._lost(relay)

    def _lost(self, relay: str) -> None:
        self._seniors.pop(relay, None)
        self._metrics.relays.set(len(self.roll.present))
        log.warning("relay_gone", relay=relay)
        for tell in self.on_gone:
            tell(relay)

    # -- the timescale -------------------------------------------------------------------------------------------

    async def _tell_time(self, message: Msg) -> None:
        await message.respond(str(time.monotonic_ns() + self._steady.anchor_ns).encode())

    async def _follow(self) -> None:
        await asyncio.sleep(2 * HEARTBEAT_S)
        first = True
        while True:
            senior = min(self._seniors, key=lambda name: (self._seniors[name], name), default=None)
            if senior is not None and (self._seniors[senior], senior) < (self._since_ns, self._link.name):
                ahead = await self._ahead_ns(senior)
                if ahead is not None:
                    self._steady.anchor_ns += ahead if first else max(-MOST_SLEW_NS, min(ahead, MOST_SLEW_NS))
                    self._metrics.clock_apart_seconds.set(ahead / 1e9)
                    first = False
            await asyncio.sleep(COMPARE_EVERY_S)

    async def _ahead_ns(self, relay: str) -> int | None:
        """By how many ns the other's timescale is ahead of ours; of several answers, the quickest counts."""
        best: tuple[int, int] | None = None
        for _ in range(ASKED_TIMES):
            asked = time.monotonic_ns()
            try:
                answer = await self._link.client.request(subjects.clock(relay), b"", timeout=ANSWER_WITHIN_S)
            except (NatsError, TimeoutError):
                continue
            trip = time.monotonic_ns() - asked
            ahead = int(answer.data) - (asked + trip // 2 + self._steady.anchor_ns)
            best = min(best or (trip, ahead), (trip, ahead))
        return best[1] if best else None
