"""From per-picture readings to the letters meant: held long enough, counted once, doubled on purpose, ended by a pause.

Times are arguments, in ms, never decreasing. A letter is taken once its sign was held still for HOLD_MS. The same
letter is taken again only after a release (no hand, or another sign) or a slide to the side. When nothing new was shown
for QUIET_MS, the sequence is committed.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

HOLD_MS = 320.0
DOUBTFUL_HOLD_MS = 640.0
DOUBTFUL = 0.45
"""Least probability at which an unsure reading is followed; its letter is taken after DOUBTFUL_HOLD_MS. Some people's
letters are never sure, and the speller weighs the alternatives."""
FEWEST = 3
"""Least number of pictures in which a held sign must be seen, whatever the frame rate."""
QUIET_MS = 2000.0
RELEASE_MS = 140.0
"""A sign not seen for longer has been released; the same letter after that is a double letter."""
STILL = 1.6
"""Speed in palm lengths per second above which a hand is moving to the next letter."""
SLIDE = 0.55
"""Sideways movement, in palm lengths, that doubles a letter."""
SWIPE = 1.1
"""Sideways movement of an open hand, in palm lengths within SWIPE_MS, that deletes the last letter."""
SWIPE_MS = 600.0
LONGEST = 500

SPACE, BACKSPACE = " ", "\b"
OPEN_HAND = "5"
MOTIONS = frozenset("JZ")
Chances = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """The reading of one picture: the sign (None: unsure or no hand), and the hand's position in palm lengths."""

    t_ms: float
    sign: str | None
    confidence: float = 0.0
    likely: Chances = ()
    hand: bool = True
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A sign that was taken: a letter, a digit, SPACE or BACKSPACE."""

    sign: str
    confidence: float
    t_ms: float
    likely: Chances = ()


@dataclass(slots=True)
class _Hold:
    """A sign while it is being shown: since when, in how many pictures, where it began, and whether it was taken."""

    sign: str
    since_ms: float
    last_ms: float
    x: float
    y: float
    seen: int = 0
    sure: int = 0
    moving_ms: float = -math.inf
    taken: bool = False
    total: float = 0.0
    likely: dict[str, float] = field(default_factory=dict)

    @property
    def confidence(self) -> float:
        return self.total / max(self.seen, 1)

    def chances(self) -> Chances:
        mean = [(sign, chance / self.seen) for sign, chance in self.likely.items()]
        return tuple(sorted(mean, key=lambda one: -one[1])[:3])


class Sequence:
    """One person's spelling: call `see` for each picture in order; when `quiet` says so, `commit` returns
    the letters.
    """

    def __init__(self, *, digits: bool = False) -> None:
        self._digits = digits
        self._hold: _Hold | None = None
        self._released: float | None = None
        self._last_sign: str | None = None
        self._active_ms: float | None = None
        self._path: deque[Sight] = deque(maxlen=64)
        self._letters: list[Taken] = []

    @property
    def letters(self) -> list[Taken]:
        return list(self._letters)

    def see(self, sight: Sight) -> Taken | None:
        """Take in a picture; returns the sign it completed, if any."""
        speed = self._speed(sight)
        self._path.append(sight)
        if sight.sign in MOTIONS:
            return self._take(Taken(sight.sign or "", sight.confidence, sight.t_ms, sight.likely), None)
        if self._swiped(sight):
            self._path.clear()
            return self._take(Taken(BACKSPACE, sight.confidence, sight.t_ms), self._hold)
        sign = sight.sign or _likeliest(sight)
        if sign is None:
            self._lost(sight, speed)
            return None
        return self._shown(sight, sign, speed)

    def quiet(self, t_ms: float) -> bool:
        """Whether letters were spelled and nothing new was shown for QUIET_MS."""
        return bool(self._letters) and self._active_ms is not None and t_ms - self._active_ms >= QUIET_MS

    def commit(self) -> list[Taken]:
        """Return the letters so far, without trailing spaces, and start anew. A sign still held is not taken again."""
        letters, self._letters = self._letters, []
        while letters and letters[-1].sign == SPACE:
            letters.pop()
        return letters

    def clear(self) -> None:
        self.__init__(digits=self._digits)  # type: ignore[misc]

    def _lost(self, sight: Sight, speed: float) -> None:
        if sight.hand and speed > STILL:
            self._active_ms = sight.t_ms
        hold = self._hold
        if hold is not None and sight.t_ms - hold.last_ms > RELEASE_MS:
            self._hold = None

    def _shown(self, sight: Sight, sign: str, speed: float) -> Taken | None:
        hold = self._hold
        if hold is None or hold.sign != sign:
            if hold is not None and sight.t_ms - hold.last_ms <= RELEASE_MS and self._flicker(sight):
                return None
            hold = self._hold = _Hold(sign, sight.t_ms, sight.t_ms, sight.x, sight.y)
            self._active_ms = sight.t_ms
        hold.last_ms = sight.t_ms
        hold.seen += 1
        hold.sure += sight.sign is not None
        hold.total += sight.confidence
        for other, chance in sight.likely:
            hold.likely[other] = hold.likely.get(other, 0.0) + chance
        if speed > STILL:
            hold.moving_ms = sight.t_ms
        if hold.taken:
            return self._doubled(hold, sight, speed)
        still_ms = sight.t_ms - max(hold.since_ms, hold.moving_ms)
        if hold.seen >= FEWEST and still_ms >= (HOLD_MS if 2 * hold.sure > hold.seen else DOUBTFUL_HOLD_MS):
            return self._take(self._told(hold, sight), hold)
        return None

    def _flicker(self, sight: Sight) -> bool:
        """Whether this differing picture is only the first one: a single misread picture does not end a hold, a second
        one does.
        """
        before = self._path[-2] if len(self._path) > 1 else None
        return before is None or (before.sign or _likeliest(before)) != (sight.sign or _likeliest(sight))

    def _doubled(self, hold: _Hold, sight: Sight, speed: float) -> Taken | None:
        """The same sign, moved sideways and come to rest, is taken once more."""
        if abs(sight.x - hold.x) < SLIDE or speed > STILL or hold.sign == OPEN_HAND:
            return None
        hold.x, hold.y = sight.x, sight.y
        return self._take(self._told(hold, sight), hold)

    def _told(self, hold: _Hold, sight: Sight) -> Taken:
        sign = SPACE if hold.sign == OPEN_HAND and not self._spells_digits() else hold.sign
        return Taken(sign, round(hold.confidence, 4), sight.t_ms, hold.chances())

    def _spells_digits(self) -> bool:
        return self._digits or (bool(self._letters) and self._letters[-1].sign.isdigit())

    def _take(self, taken: Taken, hold: _Hold | None) -> Taken | None:
        if hold is not None:
            hold.taken = True
            hold.x, hold.y = self._path[-1].x if self._path else hold.x, hold.y
        else:
            self._hold = None
        self._active_ms = taken.t_ms
        if taken.sign == BACKSPACE:
            if self._letters:
                self._letters.pop()
            return taken
        if taken.sign == SPACE and (not self._letters or self._letters[-1].sign == SPACE):
            return None
        if len(self._letters) < LONGEST:
            self._letters.append(taken)
        return taken

    def _speed(self, sight: Sight) -> float:
        """Palm lengths per second since the previous picture, if both show a hand."""
        before = self._path[-1] if self._path else None
        if before is None or not before.hand or not sight.hand or sight.t_ms <= before.t_ms:
            return 0.0
        return math.hypot(sight.x - before.x, sight.y - before.y) / (sight.t_ms - before.t_ms) * 1000

    def _swiped(self, sight: Sight) -> bool:
        """Whether an open hand moved quickly sideways."""
        if sight.sign != OPEN_HAND or self._spells_digits():
            return False
        recent = [one for one in self._path if sight.t_ms - one.t_ms <= SWIPE_MS]
        opened = [one for one in recent if one.sign in (OPEN_HAND, None) and one.hand]
        if len(opened) < len(recent) or len(opened) < FEWEST:
            return False
        across = [one.x for one in opened]
        return max(across) - min(across) >= SWIPE and abs(opened[-1].y - opened[0].y) < SWIPE / 2


def _likeliest(sight: Sight) -> str | None:
    """The likeliest letter of an unsure picture, if its probability is at least DOUBTFUL."""
    if not sight.likely or sight.likely[0][1] < DOUBTFUL:
        return None
    return sight.likely[0][0]
