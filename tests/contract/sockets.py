"""A documented client of the heart line's socket: sends what the document shows, collects what comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Iterable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.waiting import PATIENCE_S

EPOCH = 1721574600000


class Socket:
    """One WebSocket; every message that came is in `got`, in order."""

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = options
        self.got: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self.connection: ClientConnection

    async def __aenter__(self) -> Self:
        self.connection = await connect(self._url, max_size=None, **self._options)
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()
        await self._task

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.connection:
                async with self._news:
                    self.got.append(json.loads(text))
                    self._news.notify_all()

    async def send(self, message: Any) -> None:
        await self.connection.send(message if isinstance(message, str) else json.dumps(message))

    async def batch(self, samples: Iterable[dict[str, Any]], **beside: Any) -> None:
        await self.send({"type": "samples_batch", "payload": {"samples": list(samples)}, **beside})

    async def until(self, wanted: Callable[[list[dict[str, Any]]], Any], within_s: float = PATIENCE_S) -> Any:
        async with asyncio.timeout(within_s), self._news:
            while not (found := wanted(self.got)):
                await self._news.wait()
            return found

    async def message(self, kind: str, number: int = 1, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The n-th message of a type, waited for."""
        found = await self.until(
            lambda got: (of := [m for m in got if m["type"] == kind])[number - 1 :] and of, within_s
        )
        return found[number - 1]

    async def rate(self, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The first heart rate that is one, of a viewer that asked for the analysis."""

        def first(got: list[dict[str, Any]]) -> dict[str, Any] | None:
            rates = [message["payload"]["heartRate"] for message in got if message["type"] == "analysis"]
            return next((rate for rate in rates if rate["bpm"] is not None), None)

        found: dict[str, Any] = await self.until(first, within_s)
        return found

    async def status(self, status: str, number: int = 1) -> dict[str, Any]:
        def payloads(got: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [m["payload"] for m in got if m["type"] == "status_update" and m["payload"]["status"] == status]

        found = await self.until(lambda got: payloads(got)[number - 1 :] and payloads(got))
        return found[number - 1]

    async def sensor(self, needed: str) -> dict[str, Any]:
        """What the sensor said of itself, once it said what is `needed`."""

        def told(got: list[dict[str, Any]]) -> list[dict[str, Any]]:
            sensors = [m["payload"]["sensor"] for m in got if m["type"] == "session_info"]
            return [sensor for sensor in sensors if sensor and sensor.get(needed)]

        return (await self.until(told))[-1]

    def points(self) -> list[dict[str, Any]]:
        return [p for m in self.got if m["type"] == "interpolated_batch" for p in m["payload"]["interpolatedSamples"]]

    async def points_until(self, t: float, within_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        await self.until(lambda _: self.points() and self.points()[-1]["t"] >= t, within_s)
        return self.points()


def sine(times: Iterable[float], hz: float = 5.0) -> list[dict[str, Any]]:
    return [{"t": t, "ax": 0.0, "ay": 0.0, "az": math.sin(2 * math.pi * hz * (t - EPOCH) / 1000)} for t in times]
