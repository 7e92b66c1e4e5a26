"""A simulated board on a virtual port, in real time, paced by one monotonic clock without drift.

Every wait ends at an absolute time from the start; anything missed while the machine was busy is caught up at once. The
known truth about signal and line is reported once a second, for tests and for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from firmware_bridge.simulator import SimulatedSensor
from provisioning.virtual_port import VirtualPort

REPORT_EACH_NS = 1_000_000_000
LONGEST_DELAY = 10
"""No bytes are held back longer than this many times the jitter, which bounds what is waiting."""

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Mishaps:
    """Mishaps on the host's side; zero means never.

    When plugged in again, the board starts anew, as it had no power.
    """

    jitter_ms: float = 0.0
    unplug_every_s: float = 0.0
    unplugged_for_s: float = 2.0
    restart_every_s: float = 0.0


class Simulation:
    """`run` until `stop`. Reports are dicts with an `event`: plugged_in, unplugged, restarted, and truth
    once a second.
    """

    def __init__(
        self,
        sensor: SimulatedSensor,
        port: VirtualPort,
        mishaps: Mishaps | None = None,
        *,
        seed: int = 0,
        report: Report = lambda _: None,
    ) -> None:
        self._sensor, self._port, self._mishaps = sensor, port, mishaps or Mishaps()
        self._report = report
        self._rng = np.random.default_rng((seed, 20))
        self._wake = asyncio.Event()
        self._stopped = False
        self._began_ns = 0
        self._under_way: deque[tuple[int, bytes]] = deque()
        self._next_report_ns = REPORT_EACH_NS
        self._next_unplug_ns = _ns(self._mishaps.unplug_every_s)
        self._next_restart_ns = _ns(self._mishaps.restart_every_s)
        self._next_plug_ns = 0

    async def run(self) -> None:
        """Plug in, run, and remove the port at the end or on cancellation."""
        self._began_ns = time.monotonic_ns()
        try:
            while not self._stopped:
                self._step(self._elapsed_ns())
                await self._sleep()
        finally:
            self._pull_out()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def _elapsed_ns(self) -> int:
        return time.monotonic_ns() - self._began_ns

    def _step(self, now_ns: int) -> None:
        if self._port.plugged_in and self._next_unplug_ns and now_ns >= self._next_unplug_ns:
            self._next_plug_ns = now_ns + _ns(self._mishaps.unplugged_for_s)
            self._pull_out()
            self._report({"event": "unplugged", "monotonic_ns": self._began_ns + now_ns})
        if not self._port.plugged_in and now_ns >= self._next_plug_ns:
            self._plug_in(now_ns)
        if self._next_restart_ns and now_ns >= self._next_restart_ns:
            self._restart(now_ns)
        if self._port.plugged_in:
            self._send(self._sensor.advance(now_ns), now_ns)
        if now_ns >= self._next_report_ns:
            self._next_report_ns += REPORT_EACH_NS
            self._report(self._truth(now_ns))

    async def _sleep(self) -> None:
        self._wake.clear()
        wait_s = max(0, self._next_ns() - self._elapsed_ns()) / 1e9
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait_s)

    def _next_ns(self) -> int:
        times = [self._next_report_ns]
        if self._port.plugged_in:
            times.append(self._sensor.next_frame_ns())
            times += [due for due in (self._next_unplug_ns, self._next_restart_ns) if due]
        else:
            times.append(self._next_plug_ns)
        if self._under_way:
            times.append(self._under_way[0][0])
        return min(times)

    def _plug_in(self, now_ns: int) -> None:
        again = self._next_plug_ns > 0
        self._port.plug_in()
        asyncio.get_running_loop().add_reader(self._port.fileno(), self._on_command)
        if again:
            self._sensor.restart(now_ns)
        if self._mishaps.unplug_every_s:
            self._next_unplug_ns = now_ns + _ns(self._mishaps.unplug_every_s)
        where = {"link": str(self._port.link), "device": self._port.device}
        self._report({"event": "plugged_in", **where, "monotonic_ns": self._began_ns + now_ns})

    def _pull_out(self) -> None:
        if self._port.plugged_in:
            asyncio.get_running_loop().remove_reader(self._port.fileno())
            self._port.pull_out()
        self._under_way.clear()

    def _restart(self, now_ns: int) -> None:
        self._next_restart_ns = now_ns + _ns(self._mishaps.restart_every_s)
        self._sensor.restart(now_ns)
        self._report({"event": "restarted", "monotonic_ns": self._began_ns + now_ns})

    def _on_command(self) -> None:
        data = self._port.read()
        if data:
            now_ns = self._elapsed_ns()
            self._send(self._sensor.receive(data, now_ns), now_ns)
            self._wake.set()

    def _send(self, data: bytes, now_ns: int) -> None:
        """Send at once, or after a random jitter, but never before what was sent earlier."""
        if data:
            jitter_ms = self._mishaps.jitter_ms
            delay_ns = _ns(min(self._rng.exponential(jitter_ms), LONGEST_DELAY * jitter_ms) / 1000) if jitter_ms else 0
            earlier_ns = self._under_way[-1][0] if self._under_way else 0
            self._under_way.append((max(now_ns + delay_ns, earlier_ns), data))
        while self._under_way and self._under_way[0][0] <= now_ns:
            self._port.write(self._under_way.popleft()[1], now_ns)

    def _truth(self, now_ns: int) -> dict[str, Any]:
        sensor, now_s = self._sensor, now_ns / 1e9
        return {
            "event": "truth",
            "monotonic_ns": self._began_ns + now_ns,
            "elapsed_s": round(now_s, 3),
            "rate_hz": sensor.rate_hz,
            "range_g": sensor.range_g,
            "samples": asdict(sensor.truth),
            "frames": {"sent": sensor.line.frames, "lost": sensor.line.lost, "damaged": sensor.line.damaged},
            "unread_bytes": self._port.unread_bytes,
            "beats_ns": [self._began_ns + _ns(beat) for beat in sensor.signal.take_beats(now_s)],
            "movements_ns": [
                [self._began_ns + _ns(start), self._began_ns + _ns(end)]
                for start, end in sensor.signal.take_movements(now_s)
            ],
        }


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
