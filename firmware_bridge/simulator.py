"""A simulated sensor board: time goes in, the real bytes of our serial frame come out, and commands are obeyed.

It has no clock and no port. `elapsed_ns` is true time since the simulation began and never goes back; the board's own
clock differs from it by its drift, and starts anew with each restart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from firmware_bridge.commands import Command, Identify, Ping, SetRate, parse_command
from firmware_bridge.errors import Damage, FrameError, SimulationError
from firmware_bridge.faults import Faults, Line
from firmware_bridge.framing import Damaged, Splitter, encode
from firmware_bridge.messages import IdentityMessage, PongMessage, Raw, ReplyMessage, SamplesMessage, max_samples
from firmware_bridge.physiology import Floats
from firmware_bridge.protocol import MAX_RANGE_G, Kind, ReplyCode, positive

RATES_HZ = (25.0, 50.0, 62.5, 100.0, 125.0, 200.0, 250.0, 400.0, 500.0, 1000.0, 2000.0, 4000.0)
RANGES_G = (2.0, 4.0, 8.0, 16.0)
RATE_BOUNDS_HZ = (1.0, 4000.0)
MAX_DRIFT_PPM = 10_000.0
MAX_BACKLOG_NS = 10_000_000_000
"""A board not read for longer loses what is older: its counter continues, but the samples are gone."""
NEAR = 0.05
"""A listed rate or range within this share of the requested one is accepted."""


class Signal(Protocol):
    """What the sensor measures: acceleration in g at true times in s, and the known events in it."""

    def at(self, t_s: Floats) -> Floats: ...

    def take_beats(self, until_s: float) -> list[float]: ...

    def take_movements(self, until_s: float) -> list[tuple[float, float]]: ...


@dataclass(frozen=True, slots=True)
class Board:
    """A board's fixed properties.

    Default noise: 25 µg/√Hz, an ADXL355's (its data sheet); `bits` is 16, or 20 sent as int32.
    """

    name: str = "simulated-1"
    firmware: str = "simulator 1"
    sensor: str = "ADXL355 (simulated)"
    bits: int = 16
    noise_ug: float = 25.0
    drift_ppm: float = 0.0
    frame_ms: float = 40.0

    def __post_init__(self) -> None:
        if self.bits not in (16, 20):
            raise SimulationError(f"{self.bits} bits; a board has 16 or 20")
        if not abs(self.drift_ppm) <= MAX_DRIFT_PPM:
            raise SimulationError(f"a drift of {self.drift_ppm:g} ppm; it goes to {MAX_DRIFT_PPM:g} either way")
        if not (0 < self.frame_ms <= 1000 and 0 <= self.noise_ug <= 1e6):
            raise SimulationError(f"frames of {self.frame_ms:g} ms, noise of {self.noise_ug:g} µg/√Hz")


@dataclass(slots=True)
class Truth:
    """Samples over all restarts: `taken`; of these, `intact` left in undamaged frames, and `unsent` were
    never in one.
    """

    taken: int = 0
    intact: int = 0
    unsent: int = 0
    restarts: int = 0
    commands: int = 0
    commands_damaged: int = 0


@dataclass(slots=True)
class _Setting:
    """From `base_ns` (the board's clock) on, a sample every `period_ns`; `taken` of them have been put into frames."""

    rate_hz: float
    range_g: float
    base_ns: int
    period_ns: int
    taken: int = 0

    def time_ns(self, number: int) -> int:
        return self.base_ns + number * self.period_ns

    def due(self, now_ns: int) -> int:
        return max(0, (now_ns - self.base_ns) // self.period_ns + 1 - self.taken)


class SimulatedSensor:
    """The board. `advance` returns the bytes due since the last call; `receive` takes commands and answers them."""

    def __init__(
        self,
        signal: Signal,
        rate_hz: float = 100.0,
        range_g: float = 4.0,
        *,
        seed: int = 0,
        board: Board | None = None,
        faults: Faults | None = None,
    ) -> None:
        if not RATE_BOUNDS_HZ[0] <= rate_hz <= RATE_BOUNDS_HZ[1]:
            raise SimulationError(f"a rate of {rate_hz:g} Hz; the simulated board does 1 to 4000 Hz")
        if not positive(range_g, MAX_RANGE_G):
            raise SimulationError(f"a range of {range_g:g} g; it is above 0")
        self.signal, self.truth = signal, Truth()
        self._board, self._initial = board or Board(), (rate_hz, range_g)
        self._rates, self._ranges = tuple(sorted({rate_hz, *RATES_HZ})), tuple(sorted({range_g, *RANGES_G}))
        self._rng = np.random.default_rng((seed, 10))
        self.line = Line(faults or Faults(), np.random.default_rng((seed, 11)))
        self._splitter = Splitter()
        self._greeting = b""
        self._begin(0)

    @property
    def rate_hz(self) -> float:
        return self._setting.rate_hz

    @property
    def range_g(self) -> float:
        return self._setting.range_g

    def clock_us(self, elapsed_ns: int) -> int:
        """The board's clock at a true time, in µs."""
        return self._clock_ns(elapsed_ns) // 1000

    def next_frame_ns(self) -> int:
        """The true time at which `advance` will return the next frame of samples."""
        board_ns = self._setting.time_ns(self._setting.taken + self._per_frame() - 1)
        return self._on_ns + math.ceil(board_ns / self._speed)

    def advance(self, elapsed_ns: int) -> bytes:
        """The frames of samples completed by now; after a restart preceded by the identity."""
        now_ns = self._clock_ns(elapsed_ns)
        self._skip(self._setting.due(now_ns - MAX_BACKLOG_NS))
        whole = self._setting.due(now_ns) // self._per_frame() * self._per_frame()
        said, self._greeting = self._greeting, b""
        return said + self._frames(whole)

    def receive(self, data: bytes, elapsed_ns: int) -> bytes:
        """The answers to the commands in `data`, however split, after the frames that were due before them."""
        said = self.advance(elapsed_ns)
        for found in self._splitter.feed(data):
            if isinstance(found, Damaged):
                self.truth.commands_damaged += 1
            else:
                said += self._answer(found, elapsed_ns)
        return said

    def restart(self, elapsed_ns: int) -> None:
        """A power cycle: new boot number, clock and counter from zero, initial rate and range."""
        lost = self._setting.due(self._clock_ns(elapsed_ns))
        self.truth.taken += lost
        self.truth.unsent += lost
        self.truth.restarts += 1
        self._splitter.break_off()
        self._begin(elapsed_ns)

    def _begin(self, elapsed_ns: int) -> None:
        self._boot, self._seq, self._on_ns = int(self._rng.integers(1 << 32)), 0, elapsed_ns
        self._speed = 1 + self._board.drift_ppm / 1e6
        self._setting = _setting(*self._initial, after_ns=0)
        self._greeting = self.line.carry(encode(self._identity().pack()))

    def _clock_ns(self, elapsed_ns: int) -> int:
        return int((elapsed_ns - self._on_ns) * self._speed)

    def _per_frame(self) -> int:
        wanted = round(self._setting.rate_hz * self._board.frame_ms / 1000)
        return min(max(1, wanted), max_samples(wide=self._board.bits > 16))

    def _skip(self, count: int) -> None:
        self._setting.taken += count
        self._seq += count
        self.truth.taken += count
        self.truth.unsent += count

    def _frames(self, count: int) -> bytes:
        """The next `count` samples as frames, of which the last may be short."""
        setting, most = self._setting, self._per_frame()
        board_ns = setting.base_ns + np.arange(setting.taken, setting.taken + count) * setting.period_ns
        raw = self._digits(self.signal.at((self._on_ns + board_ns / self._speed) / 1e9))
        return b"".join(self._frame(raw[first : first + most]) for first in range(0, count, most))

    def _frame(self, raw: Raw) -> bytes:
        setting = self._setting
        first_us = round(setting.time_ns(setting.taken) / 1000)
        head = (self._boot, first_us, self._seq % (1 << 32), setting.period_ns, setting.rate_hz, setting.range_g)
        frame = encode(SamplesMessage(*head, raw).pack())
        carried = self.line.carry(frame)
        setting.taken += len(raw)
        self._seq += len(raw)
        self.truth.taken += len(raw)
        self.truth.intact += len(raw) if carried == frame else 0
        return carried

    def _digits(self, felt_g: Floats) -> Raw:
        noise_g = self._board.noise_ug * 1e-6 * math.sqrt(self._setting.rate_hz / 2)
        noisy = felt_g + self._rng.normal(0, noise_g, felt_g.shape)
        full = 1 << (self._board.bits - 1)
        digits = np.clip(np.rint(noisy * (full / self._setting.range_g)), -full, full - 1)
        return digits.astype(np.int16) if self._board.bits == 16 else digits.astype(np.int32) << 12

    def _answer(self, payload: bytes, elapsed_ns: int) -> bytes:
        try:
            command = parse_command(payload)
        except FrameError as error:
            if error.damage is Damage.KIND:
                return self.line.carry(encode(ReplyMessage(payload[1], ReplyCode.UNKNOWN_COMMAND, 0.0).pack()))
            self.truth.commands_damaged += 1
            return b""
        self.truth.commands += 1
        return self._obey(command, elapsed_ns)

    def _obey(self, command: Command, elapsed_ns: int) -> bytes:
        if isinstance(command, Identify):
            return self.line.carry(encode(self._identity().pack()))
        if isinstance(command, Ping):
            now_us = self.clock_us(elapsed_ns)
            return self.line.carry(encode(PongMessage(command.token, now_us, now_us).pack()))
        if isinstance(command, SetRate):
            rate_hz = _listed(self._rates, command.hz)
            said = self._change(rate_hz, self.range_g, elapsed_ns) if rate_hz else b""
            return said + self._reply(Kind.SET_RATE, rate_hz, self.rate_hz)
        range_g = _listed(self._ranges, command.g)
        said = self._change(self.rate_hz, range_g, elapsed_ns) if range_g else b""
        return said + self._reply(Kind.SET_RANGE, range_g, self.range_g)

    def _reply(self, kind: int, found: float | None, in_effect: float) -> bytes:
        code = ReplyCode.OK if found else ReplyCode.UNSUPPORTED_VALUE
        return self.line.carry(encode(ReplyMessage(kind, code, in_effect).pack()))

    def _change(self, rate_hz: float, range_g: float, elapsed_ns: int) -> bytes:
        """The samples taken before the change; the new setting's first sample follows one of its periods later."""
        now_ns = self._clock_ns(elapsed_ns)
        said = self._frames(self._setting.due(now_ns))
        self._setting = _setting(rate_hz, range_g, after_ns=now_ns)
        return said

    def _identity(self) -> IdentityMessage:
        board = self._board
        return IdentityMessage(board.name, board.firmware, board.sensor, self._rates, self._ranges)


def _setting(rate_hz: float, range_g: float, *, after_ns: int) -> _Setting:
    period_ns = round(1e9 / rate_hz)
    single = float(np.float32(range_g))
    return _Setting(rate_hz, single, after_ns + period_ns, period_ns)


def _listed(values: tuple[float, ...], asked: float) -> float | None:
    """The listed value nearest to the requested one, if it is near enough."""
    found = min(values, key=lambda value: abs(value - asked))
    return found if abs(found - asked) <= NEAR * asked else None
