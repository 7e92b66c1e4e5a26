"""A simulated chest accelerometer: heartbeats, breathing, posture and movement, with the true times of beats.

Each beat is a sum of damped oscillations at the fiducial points of the dorso-ventral seismocardiogram (names and order:
Crow et al., Am J Noninvasive Cardiol 8, 1994; Sørensen et al., Sci Rep 8:15467, 2018; sizes: Taebi et al., Vibration
2(1), 2019). It is a test signal of the right shape and size, and represents no patient.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import SimulationError

_T = TypeVar("_T", float, tuple[float, float])
Floats = NDArray[np.float64]

BPM = (20.0, 240.0)
BREATHS = (3.0, 60.0)
KEPT_TRUTH = 4096
"""Beats and movements kept until taken; older ones are forgotten."""
_REACH_S = 1.0
"""Length of a beat's oscillations; times given to `at` may not go further back."""


class _Wave(NamedTuple):
    """A damped oscillation, largest at its fiducial point: it rises in `rise_s` and decays in `fall_s`;

    `mg` on x, y and z.
    """

    hz: float
    rise_s: float
    fall_s: float
    mg: tuple[float, float, float]
    after_ao_s: float = 0.0
    after_ac_s: float | None = None


_WAVES = (
    _Wave(17.0, 0.024, 0.016, (6.0, -9.0, 24.0)),  # AO, with IM before it and IC after
    _Wave(31.0, 0.012, 0.012, (-2.0, 3.0, 5.0), after_ao_s=-0.042),  # MC
    _Wave(8.0, 0.040, 0.040, (3.0, 6.0, 6.0), after_ao_s=0.085),  # RE
    _Wave(24.0, 0.016, 0.018, (-3.0, 4.0, 8.5), after_ac_s=0.0),  # AC
    _Wave(12.0, 0.025, 0.030, (2.0, -3.0, -4.5), after_ac_s=0.075),  # MO
    _Wave(5.0, 0.050, 0.060, (0.5, 2.0, 2.0), after_ac_s=0.170),  # RF
)


class Heart:
    """Times of heartbeats: a mean rate, modulated by breathing, a 0.1 Hz wave and some randomness.

    Bands: McSharry et al., IEEE Trans Biomed Eng 50(3), 2003. Fast hearts vary less: Sacha, Ann Noninvasive
    Electrocardiol 19(3), 2014. Times are those of the aortic valve's opening, in s.
    """

    def __init__(self, bpm: float, breaths_per_minute: float, rng: np.random.Generator, *, variation: float) -> None:
        self._mean_s = 60 / bpm
        self._breath_hz = breaths_per_minute / 60
        self._variation = variation * math.exp(min(0.0, 60 - bpm) / 50)
        self._rng = rng
        self._next = 0.4 * self._mean_s

    def beat(self) -> tuple[float, float]:
        """The time of the next beat and the interval to the one after it."""
        now = self._next
        slow = 0.5 * math.sin(2 * math.pi * 0.1 * now + 1.0)
        breath = math.sin(2 * math.pi * self._breath_hz * now)
        chance = min(max(self._rng.normal(0.0, 0.2), -1.0), 1.0)
        interval = self._mean_s * (1 + self._variation * (slow + breath + chance))
        self._next = now + interval
        return now, interval


class _Beat(NamedTuple):
    at_s: float
    ejection_s: float
    strength: float


class Seismocardiogram:
    """The signal. The same arguments and seed give the same signal, at whatever rate it is read.

    `variation`: depth of respiratory sinus arrhythmia at rest, as a share of the beat interval. `amplitude` scales the
    heart (1.0: AO near 25 mg). A movement of 2 to 4 s occurs every `motion_every_s` (0: never).
    """

    def __init__(
        self,
        bpm: float = 64.0,
        *,
        breaths_per_minute: float = 14.0,
        variation: float = 0.04,
        amplitude: float = 1.0,
        motion_every_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        _within("heart rate", bpm, *BPM, "bpm")
        _within("breathing", breaths_per_minute, *BREATHS, "breaths a minute")
        _within("variation", variation, 0.0, 0.15, "of the interval")
        _within("amplitude", amplitude, 0.0, 100.0, "times the usual")
        _within("time between movements", motion_every_s, 0.0, 86_400.0, "s")
        rhythm, self._strengths, self._movements = (np.random.default_rng((seed, part)) for part in range(3))
        self._heart = Heart(bpm, breaths_per_minute, rhythm, variation=variation)
        self._breath_hz = breaths_per_minute / 60
        self._amplitude = amplitude
        self._felt: deque[_Beat] = deque()
        self._moves: deque[_Movement] = deque()
        self._move_every_s = motion_every_s
        self._next_move_s = motion_every_s or np.inf
        self._known_until_s = -np.inf
        self._beats: deque[float] = deque(maxlen=KEPT_TRUTH)
        self._moved: deque[tuple[float, float]] = deque(maxlen=KEPT_TRUTH)

    def at(self, t_s: Floats) -> Floats:
        """Acceleration in g, float64[n, 3], at rising times in s since the start."""
        if not len(t_s):
            return np.empty((0, 3))
        self._know_until(float(t_s[-1]) + _REACH_S)
        felt = self._posture(t_s)
        for beat in self._felt:
            self._add_beat(felt, t_s, beat)
        for movement in self._moves:
            movement.add(felt, t_s)
        self._forget_before(float(t_s[-1]) - _REACH_S)
        return felt

    def take_beats(self, until_s: float) -> list[float]:
        """The times of beats up to `until_s` that were not taken before."""
        return _take(self._beats, until_s)

    def take_movements(self, until_s: float) -> list[tuple[float, float]]:
        """Start and end of movements begun up to `until_s` that were not taken before."""
        return _take(self._moved, (until_s, np.inf))

    def move(self, from_s: float, for_s: float) -> None:
        """Add a movement of `for_s` seconds that begins at `from_s`."""
        movement = _Movement(from_s, for_s, self._movements)
        self._moves.append(movement)
        self._moved.append((from_s, from_s + for_s))

    def _know_until(self, until_s: float) -> None:
        while self._known_until_s < until_s:
            at_s, interval_s = self._heart.beat()
            self._known_until_s = at_s
            self._beats.append(at_s)
            breath = math.sin(2 * math.pi * self._breath_hz * at_s - 0.6)
            strength = self._amplitude * (1 + 0.18 * breath + float(self._strengths.normal(0, 0.04)))
            self._felt.append(_Beat(at_s, _ejection_s(60 / interval_s), strength))
        while self._next_move_s < until_s:
            self.move(self._next_move_s, float(self._movements.uniform(2.0, 4.0)))
            self._next_move_s += self._move_every_s

    def _forget_before(self, from_s: float) -> None:
        while self._felt and self._felt[0].at_s < from_s:
            self._felt.popleft()
        while self._moves and self._moves[0].ends_s < from_s:
            self._moves.popleft()

    def _posture(self, t_s: Floats) -> Floats:
        """Gravity on a chest that tilts by half a degree with each breath: along y (head) and z (out of the chest)."""
        breath = np.sin(2 * np.pi * self._breath_hz * t_s)
        tip = np.radians(4.0 + 0.45 * breath + 0.1 * np.sin(2 * np.pi * 2 * self._breath_hz * t_s))
        return np.column_stack((0.02 + 0.002 * breath, np.sin(tip), np.cos(tip)))

    def _add_beat(self, felt: Floats, t_s: Floats, beat: _Beat) -> None:
        first, last = np.searchsorted(t_s, (beat.at_s - 0.25, beat.at_s + _REACH_S))
        if first == last:
            return
        since_ao = t_s[first:last] - beat.at_s
        for wave in _WAVES:
            late = wave.after_ao_s if wave.after_ac_s is None else beat.ejection_s + wave.after_ac_s
            felt[first:last] += np.outer(_damped(since_ao - late, wave), np.multiply(wave.mg, beat.strength / 1000))


class _Movement:
    """Movement of limbs and trunk: a sum of slow sines, 0.4 to 6 Hz, up to about 0.2 g, under a smooth window."""

    def __init__(self, from_s: float, for_s: float, rng: np.random.Generator) -> None:
        self.from_s, self.ends_s = from_s, from_s + for_s
        self._hz = rng.uniform(0.4, 6.0, 10)
        self._phase = rng.uniform(0, 2 * np.pi, (10, 3))
        self._g = rng.normal(0, 0.05, (10, 3))

    def add(self, felt: Floats, t_s: Floats) -> None:
        first, last = np.searchsorted(t_s, (self.from_s, self.ends_s))
        since = t_s[first:last] - self.from_s
        window = np.sin(np.pi * since / (self.ends_s - self.from_s)) ** 2
        angles = 2 * np.pi * np.multiply.outer(since, self._hz)[:, :, None] + self._phase
        felt[first:last] += window[:, None] * (np.sin(angles) * self._g).sum(axis=1)


def _damped(since_s: Floats, wave: _Wave) -> Floats:
    rising = np.exp(-0.5 * (np.minimum(since_s, 0) / wave.rise_s) ** 2)
    falling = np.maximum(since_s, 0) / wave.fall_s
    return rising * (1 + falling) * np.exp(-falling) * np.cos(2 * np.pi * wave.hz * since_s)


def _ejection_s(bpm: float) -> float:
    """Left ventricular ejection time in s, AO to AC, at a heart rate: Weissler et al., Circulation 37, 1968 (men)."""
    return max(0.12, 0.413 - 0.0017 * bpm)


def _take(times: deque[_T], until: _T) -> list[_T]:
    taken = []
    while times and times[0] <= until:
        taken.append(times.popleft())
    return taken


def _within(name: str, value: float, least: float, most: float, unit: str) -> None:
    if not least <= value <= most:
        raise SimulationError(f"{name} of {value:g} {unit}; it goes from {least:g} to {most:g}")
