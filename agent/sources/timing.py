"""Assigns times to a packet's samples: by the sensor's own clock if it has one, otherwise by arrival times.

The clock is kept across a reconnection, so that its fit stays good, and replaced when the sensor has restarted.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from agent.sources import EcgReading, Reading
from agent.sources.one_way import OneWayDelay
from core.signals.clock import DeviceClock, PacketClock
from firmware_bridge.decoders import Ecg, Samples

STANDARD_GRAVITY = 9.80665
"""m/s² in one g, exact (3rd CGPM, 1901)."""
RESTARTED_NS = 1e9
"""If, after a pause, the clock is off by more than this, the sensor has restarted and the old fit is discarded."""


class SampleTimes:
    """`tick_ns` None: the sensor has no clock. `segment` increases with every restart of the clock."""

    def __init__(self, tick_ns: float | None) -> None:
        self.delay = OneWayDelay()
        self.segment = 0
        self._tick_ns = tick_ns
        self._device = DeviceClock(tick_ns) if tick_ns is not None else None
        self._packets: tuple[float, PacketClock] | None = None
        self._returned = False

    @property
    def error_ms(self) -> float | None:
        clock = self._device or (self._packets and self._packets[1])
        return clock.error_ms if clock is not None else None

    def returned(self) -> None:
        """A new connection; its first packet will show whether the clock is still the same."""
        self._returned, self._packets = True, None

    def restart(self) -> None:
        """The sensor restarted, and its clock with it."""
        if self._tick_ns is not None:
            self._device = DeviceClock(self._tick_ns)
        self._packets = None
        self.segment += 1
        self.delay.restart()

    def set_delay(self) -> float | None:
        """Apply the least one-way delay once pings have measured it; returns it in ns."""
        delay = self.delay.estimate()
        if delay is not None and self._device is not None:
            self._device.set_delay(delay)
        return delay

    def reading(self, packet: Samples) -> Reading:
        if self._device is None or self._tick_ns is None:
            return self._by_arrival(packet)
        if self._returned:
            self._returned = False
            self._same_clock(self._device, packet)
        newest = int(packet.ticks[-1])
        if self._device.observe(newest, packet.arrival_ns):
            self.segment += 1
            self.delay.restart()
        self.delay.packet(newest * self._tick_ns, packet.arrival_ns)
        return _reading(packet, self._device.to_ns(packet.ticks), self.error_ms, newest, self._tick_ns)

    def beside(self, ecg: Ecg) -> EcgReading | None:
        """An electrocardiogram timed by the samples' clock; None before the first sample."""
        if self._device is None:
            return None
        with suppress(ValueError):
            return EcgReading(self._device.to_ns(ecg.ticks), ecg.microvolts, ecg.rate_hz, ecg.lost)
        return None

    def _same_clock(self, clock: DeviceClock, packet: Samples) -> None:
        try:
            expected = float(clock.to_ns(packet.ticks[-1:])[0])
        except ValueError:
            return
        if abs(packet.arrival_ns - expected) > RESTARTED_NS:
            self.restart()

    def _by_arrival(self, packet: Samples) -> Reading:
        if self._packets is None or self._packets[0] != packet.rate_hz:
            self._packets = packet.rate_hz, PacketClock(packet.rate_hz)
        times = self._packets[1].observe(len(packet.ticks), packet.arrival_ns)
        return _reading(packet, times, self.error_ms, int(packet.ticks[-1]), None)


def _reading(packet: Samples, t_ns: np.ndarray, error_ms: float | None, newest: int, tick_ns: float | None) -> Reading:
    return Reading(
        t_ns=t_ns,
        xyz=np.asarray(packet.acc_g) * STANDARD_GRAVITY,
        arrival_ns=packet.arrival_ns,
        lost=packet.lost,
        error_ms=error_ms,
        tick=newest,
        tick_ns=tick_ns,
    )
