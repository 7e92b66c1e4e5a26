"""Viewers that read a live session, move to another relay when theirs fails, and check that nothing is missing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

GRID_MS = 10
PATIENCE_S = 3.0
"""If nothing arrives for this long while the kit measures, look for another relay."""

_decode = msgspec.json.Decoder().decode


@dataclass
class Seen:
    """What all viewers saw together. Delays in ms from a sample's own time; interruptions in s, from losing a relay to
    new data.
    """

    points: int = 0
    holes: int = 0
    doubles: int = 0
    lost_relays: int = 0
    delays: list[float] = field(default_factory=list)
    away: list[float] = field(default_factory=list)


class Viewer:
    """One viewer of one session. `run` reads until it is cancelled."""

    def __init__(self, session: str, relays: list[str], seen: Seen, first: int) -> None:
        self._session = session
        self._relays = relays
        self._seen = seen
        self._turn = first
        self._newest: int | None = None
        self._left: float | None = None

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, InvalidHandshake, WebSocketException):
                await self._watch()
            if self._newest is not None and self._left is None:
                self._left = time.monotonic()
                self._seen.lost_relays += 1
            self._turn += 1
            await asyncio.sleep(0.2)

    async def _watch(self) -> None:
        base = self._relays[self._turn % len(self._relays)].replace("http", "ws", 1)
        after = "" if self._newest is None else f"&after={self._newest}"
        url = f"{base}/ws/{self._session}?role=viewer{after}"
        async with connect(url, open_timeout=2.0, close_timeout=0.5, compression=None, max_size=None) as socket:
            while True:
                async with asyncio.timeout(PATIENCE_S):
                    data = await socket.recv(decode=False)
                    while b"interpolated_batch" not in data[:40]:
                        data = await socket.recv(decode=False)
                self._points(_decode(data)["payload"]["interpolatedSamples"])

    def _points(self, points: list[dict[str, float]]) -> None:
        seen = self._seen
        for point in points:
            when = int(point["t"])
            if self._newest is not None:
                seen.doubles += when <= self._newest
                seen.holes += when > self._newest + GRID_MS
            self._newest = when
        seen.points += len(points)
        if self._left is not None:
            seen.away.append(time.monotonic() - self._left)
            self._left = None
        elif self._newest is not None:
            seen.delays.append(time.time() * 1000 - self._newest)
