"""Our own serial protocol (`docs/serial-frame.md`): exact sample times on the device's clock, exact counts of loss.

The counter numbers samples, not frames, so the size of a gap is known whatever its frames held. Keep the decoder across
reconnections, so that samples missed while unplugged are counted too.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.decoders import Counters, Event, Identity, Pong, Reply, Samples
from firmware_bridge.errors import FrameError
from firmware_bridge.framing import KEPT_OF_DAMAGED, Damaged, Splitter
from firmware_bridge.messages import IdentityMessage, Message, PongMessage, SamplesMessage, parse_message
from firmware_bridge.protocol import ReplyCode

_WRAP = 1 << 32
TICK_NS = 1000.0


class HomesideSerial:
    """One device's decoder. Its first packet has `lost` 0: what was sent before the port was opened was not missed."""

    tick_ns: float | None = TICK_NS

    def __init__(self, splitter: Splitter | None = None) -> None:
        self.counters = Counters()
        self._splitter = splitter or Splitter()
        self.counters.damaged = self._splitter.damaged
        self._boot: int | None = None
        self._next = 0

    def feed(self, data: bytes, arrival_ns: int) -> list[Event]:
        return [
            found if isinstance(found, Damaged) else self._event(found, arrival_ns)
            for found in self._splitter.feed(data)
        ]

    def break_off(self) -> None:
        """The port was closed: forget an unfinished frame, keep counting."""
        self._splitter.break_off()

    def _event(self, payload: bytes, arrival_ns: int) -> Event:
        try:
            message = parse_message(payload)
        except FrameError as error:
            self.counters.damaged[error.damage] += 1
            return Damaged(error.damage, payload[:KEPT_OF_DAMAGED])
        self.counters.frames += 1
        if isinstance(message, SamplesMessage):
            return self._samples(message, arrival_ns)
        return _answer(message, arrival_ns)

    def _samples(self, message: SamplesMessage, arrival_ns: int) -> Samples:
        lost = self._count(message.boot, message.seq, len(message.raw))
        full_scale = 1 << (8 * message.raw.dtype.itemsize - 1)
        return Samples(
            message.seq,
            message.first_us + _steps_us(len(message.raw), message.period_ns),
            np.multiply(message.raw, message.range_g / full_scale, dtype=np.float64),
            message.rate_hz,
            message.range_g,
            lost,
            arrival_ns,
        )

    def _count(self, boot: int, seq: int, count: int) -> int:
        """Samples missing before `seq`. A new boot counts from 0; a counter that went back within one boot shows
        nothing.
        """
        first, restarted = self._boot is None, self._boot not in (None, boot)
        lost = 0 if first else seq if restarted else (seq - self._next) % _WRAP
        if lost >= _WRAP // 2 and not restarted:
            lost, restarted = 0, True
        self._boot, self._next = boot, (seq + count) % _WRAP
        self.counters.samples += count
        self.counters.lost += lost
        self.counters.restarts += restarted
        return lost


@lru_cache(maxsize=64)
def _steps_us(count: int, period_ns: int) -> NDArray[np.int64]:
    steps = (np.arange(count, dtype=np.int64) * period_ns + 500) // 1000
    steps.flags.writeable = False
    return steps


def _answer(message: Message, arrival_ns: int) -> Event:
    if isinstance(message, IdentityMessage):
        return Identity(
            message.name,
            message.firmware,
            message.sensor,
            TICK_NS,
            message.rates_hz,
            message.ranges_g,
        )
    if isinstance(message, PongMessage):
        return Pong(message.token, message.received_us, message.sent_us, arrival_ns)
    assert not isinstance(message, SamplesMessage)
    return Reply(message.command, message.code == ReplyCode.OK, message.code, message.value)
