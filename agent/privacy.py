"""What may leave the home: the skeleton always; pictures only as far and as long as somebody has agreed.

The decision is held on the kit alone. Only a command that names who agreed and for how long can raise the level; it
falls back to the skeleton by itself; every change is recorded in an append-only file and reported in status.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

import structlog

from agent.errors import CommandRefused
from agent.files import append_whole

log = structlog.get_logger(__name__)

MOST_MINUTES = 240
"""Consent covers one visit, and is never permanent."""
AUDIT_BYTES = 1 << 20
"""Size at which the audit trail is rotated; one previous file is kept."""


LAST_BYTES = 4096
"""Bytes at the trail's end that are searched for the last entry."""


def since_boot_s() -> float:
    """Seconds since boot, including sleep and independent of the time of day, so that neither can prolong consent."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Level(IntEnum):
    """Each level shows everything the one before shows, and more."""

    SKELETON = 0
    BLURRED = 1
    CLEAR = 2

    @property
    def word(self) -> str:
        return self.name.lower()


LEVELS = {level.word: level for level in Level}


class Privacy:
    """`level` is read for every picture. `show` sets the kit's light; `changed` is called after every change."""

    def __init__(
        self,
        trail: Path,
        *,
        show: Callable[[Level], None] = lambda _: None,
        changed: Callable[[Level], None] = lambda _: None,
        clock: Callable[[], float] = since_boot_s,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._trail, self._show, self._changed, self._clock, self._now_s = trail, show, changed, clock, now_s
        self._granted = Level.SKELETON
        self._until = 0.0
        self._by = ""

    @property
    def level(self) -> Level:
        """The highest level that may leave now; ends consent that has expired."""
        if self._granted is not Level.SKELETON and self._clock() >= self._until:
            self._set(Level.SKELETON, 0.0, "expiry")
        return self._granted

    def begin(self) -> None:
        """Start at the skeleton, however the last run ended: switch the light off, and record it in the trail."""
        self._shown(Level.SKELETON)
        if (before := self._last()) is not Level.SKELETON:
            self._kept({"from": before.word, "to": Level.SKELETON.word, "minutes": 0, "by": "restart"})

    def end(self) -> None:
        """Withdraw consent at shutdown, since nothing would control the light afterwards."""
        if self.level is not Level.SKELETON:
            self.withdraw("end of the agent")

    def grant(self, level: Level, minutes: float, by: str) -> None:
        """Allow up to `level` for so many minutes. Returning to the skeleton needs no name and always works."""
        if level is not Level.SKELETON and not by.strip():
            raise CommandRefused("set_privacy: by says who agreed; without it nothing but the skeleton leaves")
        if level is not Level.SKELETON and not 0 < minutes <= MOST_MINUTES:
            raise CommandRefused(f"set_privacy: minutes is a number from 0 to {MOST_MINUTES}")
        self._set(level, minutes, by)

    def withdraw(self, by: str) -> None:
        self.grant(Level.SKELETON, 0, by)

    def figures(self) -> dict[str, Any]:
        """For status: the current level, until when, and who agreed."""
        level = self.level
        raised = level is not Level.SKELETON
        ends = self._now_s() + self._until - self._clock()
        return {
            "level": level.word,
            "until": datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds") if raised else None,
            "by": self._by if raised else None,
        }

    async def command(self, args: dict[str, Any]) -> dict[str, Any]:
        """Carry out `set_privacy {level, minutes, by}`."""
        level, minutes = LEVELS.get(str(args.get("level"))), args.get("minutes", 0)
        if level is None:
            raise CommandRefused(f"set_privacy: level is one of {', '.join(LEVELS)}")
        if isinstance(minutes, bool) or not isinstance(minutes, int | float):
            raise CommandRefused("set_privacy: minutes is a number")
        self.grant(level, float(minutes), str(args.get("by", ""))[:200])
        return {"privacy": self.figures()}

    def _set(self, level: Level, minutes: float, by: str) -> None:
        before, self._granted, self._by = self._granted, level, by
        self._until = self._clock() + minutes * 60
        entry = {"from": before.word, "to": level.word, "minutes": minutes, "by": by}
        kept, shown = self._kept(entry), self._shown(level)
        if not (kept and shown) and level is not Level.SKELETON:
            self._granted, self._by = Level.SKELETON, ""
            self._shown(Level.SKELETON)
            what = "written down" if not kept else "shown by the light"
            raise CommandRefused(f"set_privacy: the consent cannot be {what} on this kit, so it does not count")
        if before is not self._granted:
            log.info("privacy_changed", before=before.word, now=self._granted.word, minutes=minutes)
            self._changed(self._granted)

    def _shown(self, level: Level) -> bool:
        try:
            self._show(level)
        except OSError as error:
            log.error("privacy_light_does_not_obey", reason=str(error))
            return False
        return True

    def _kept(self, entry: dict[str, Any]) -> bool:
        line = json.dumps({"at": datetime.fromtimestamp(self._now_s(), UTC).isoformat(timespec="seconds"), **entry})
        try:
            self._trail.parent.mkdir(parents=True, exist_ok=True)
            if self._trail.exists() and self._trail.stat().st_size > AUDIT_BYTES:
                self._trail.replace(self._trail.with_suffix(".1"))
            append_whole(self._trail, line.encode() + b"\n")
        except OSError as error:
            log.error("privacy_trail_unwritable", reason=str(error))
            return False
        return True

    def _last(self) -> Level:
        """The level in the trail's last entry; entries torn by a power cut are skipped."""
        with suppress(OSError), self._trail.open("rb") as file:
            file.seek(max(0, self._trail.stat().st_size - LAST_BYTES))
            for line in reversed(file.read().splitlines()):
                with suppress(ValueError, KeyError, TypeError):
                    return LEVELS[json.loads(line)["to"]]
        return Level.SKELETON
