"""MicroPython. A board: samples from the sensor's FIFO into frames, commands answered, sample times by its own clock.

The sensor's interrupt signals that its FIFO has reached the watermark. That moment and the sample count give the time
of each sample, and the period of the sensor's own oscillator, which may differ by 1 % from its data sheet.
"""

import struct
import time

import frame

FRAME_MS = 40
"""A frame every 40 ms: 25 per second."""
NEAR = 0.05
LEARN_US = 1_000_000
YIELDS = 50
"""Times follow persistently late stamps by at most a fiftieth of the time passed: more than an oscillator is off, less
than a busy moment delays."""


class Clock:
    """Microseconds since power-on in 64 bits, although `ticks_us` wraps after some minutes."""

    def __init__(self):
        self._last = time.ticks_us()
        self._us = 0

    def at(self, ticks):
        """The time of a moment stamped with `ticks_us`, within half a wrap of now."""
        return self.now() + time.ticks_diff(ticks, self._last)

    def now(self):
        ticks = time.ticks_us()
        self._us += time.ticks_diff(ticks, self._last)
        self._last = ticks
        return self._us


class Board:
    """`sensor`: a driver of this folder. `boot`: a number that identifies this power-on. `send` takes bytes."""

    def __init__(self, sensor, send, name, firmware, boot):
        self.sensor, self.send = sensor, send
        self.name, self.firmware, self.boot = name, firmware, boot
        self.clock = Clock()
        self.number = 0
        self._splitter = frame.Splitter()
        self._stamp = None
        self._start(sensor.rates_hz[0] if sensor.usual_hz is None else sensor.usual_hz, sensor.ranges_g[0])
        self.tell(self._identity())

    def interrupt(self, _pin=None):
        """The FIFO has reached its watermark. Called by the pin's interrupt; it only reads the clock."""
        if self._stamp is None:
            self._stamp = time.ticks_us()

    def tell(self, payload):
        self.send(frame.encode(payload))

    def heard(self, data):
        """Take bytes from the host, however split."""
        received_us = self.clock.now()
        for payload in self._splitter.feed(data):
            self._obey(payload, received_us)

    def step(self):
        """Do what is due; call it often, at least twice per watermark."""
        stamp, self._stamp = self._stamp, None
        if stamp is not None:
            self._drain(self.clock.at(stamp))

    def _start(self, rate_hz, range_g):
        """Configure the sensor; samples in the FIFO are dropped, and the sequence numbers account for them."""
        self.rate_hz, self.range_g = rate_hz, range_g
        self.watermark = max(1, min(self.sensor.deepest, int(rate_hz * FRAME_MS / 1000)))
        self.period_ns = int(1e9 / rate_hz)
        self._anchor = self._base = None
        self._stamp = None
        self.sensor.start(rate_hz, range_g, self.watermark)

    def _drain(self, stamp_us):
        """Send the FIFO's samples; number `watermark` of them was taken at `stamp_us`."""
        values, overrun = self.sensor.read()
        if overrun:
            self.number += self._missed(stamp_us)
            self._anchor = None
        if not values:
            return
        stamp_us = self._settled(self.number + self.watermark - 1, stamp_us)
        first_us = stamp_us - (self.watermark - 1) * self.period_ns // 1000
        most = 82 if self.sensor.wide else 165
        for at in range(0, len(values), most):
            part = values[at : at + most]
            when = first_us + at * self.period_ns // 1000
            self.tell(
                frame.samples(
                    self.boot,
                    max(0, when),
                    self.number,
                    self.period_ns,
                    self.rate_hz,
                    self.range_g,
                    self.sensor.wide,
                    part,
                )
            )
            self.number += len(part)

    def _settled(self, newest, stamp_us):
        """When sample `newest` was taken. Interrupts come late, never early, so a late one moves the time only a
        little.
        """
        if self._anchor is None:
            self._anchor = self._base = (newest, stamp_us)
            return stamp_us
        number, when = self._anchor
        span_us = (newest - number) * self.period_ns // 1000
        stamp_us = min(stamp_us, when + span_us + span_us // YIELDS)
        self._anchor = (newest, stamp_us)
        self._learn(newest, stamp_us)
        return stamp_us

    def _learn(self, newest, stamp_us):
        """Learn the period of the sensor's own oscillator, over a second or more."""
        number, when = self._base
        if stamp_us - when < LEARN_US:
            return
        measured = (stamp_us - when) * 1000 // (newest - number)
        if abs(measured - self.period_ns) * 20 < self.period_ns:
            self.period_ns += (measured - self.period_ns) // 2
        self._base = (newest, stamp_us)

    def _missed(self, stamp_us):
        """Samples lost by overrun of the FIFO since the last stamp, estimated by the clock."""
        if self._anchor is None:
            return 0
        number, when = self._anchor
        due = (stamp_us - when) * 1000 // self.period_ns
        return max(0, number + due - (self.number + self.sensor.deepest - 1))

    def _obey(self, payload, received_us):
        version, kind = payload[0], payload[1]
        if version != frame.VERSION:
            return
        if kind == frame.IDENTIFY and len(payload) == 2:
            self.tell(self._identity())
        elif kind == frame.PING and len(payload) == 6:
            (token,) = struct.unpack("<I", payload[2:])
            self.tell(frame.pong(token, received_us, self.clock.now()))
        elif kind in (frame.SET_RATE, frame.SET_RANGE) and len(payload) == 6:
            self._set(kind, struct.unpack("<f", payload[2:])[0])
        elif kind not in (frame.IDENTIFY, frame.PING, frame.SET_RATE, frame.SET_RANGE):
            self.tell(frame.reply(kind, frame.UNKNOWN_COMMAND, 0.0))

    def _set(self, kind, asked):
        listed = self.sensor.rates_hz if kind == frame.SET_RATE else self.sensor.ranges_g
        found = min(listed, key=lambda value: abs(value - asked))
        in_effect = self.rate_hz if kind == frame.SET_RATE else self.range_g
        if not abs(found - asked) <= NEAR * asked:
            self.tell(frame.reply(kind, frame.UNSUPPORTED_VALUE, in_effect))
            return
        self.number += self.sensor.waiting()
        try:
            if kind == frame.SET_RATE:
                self._start(found, self.range_g)
            else:
                self._start(self.rate_hz, found)
        except OSError:
            self.tell(frame.reply(kind, frame.SENSOR_FAULT, in_effect))
            return
        self.tell(frame.reply(kind, frame.DONE, found))

    def _identity(self):
        return frame.identity(self.name, self.firmware, self.sensor.part, self.sensor.rates_hz, self.sensor.ranges_g)
