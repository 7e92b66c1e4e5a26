"""What an operator needs to know of a kit, and who is in a rollout. Pure.

A kit is live, needs somebody, is away, or was never heard of. What it needs is said in words, the gravest first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from core.contracts.fleet import ConfigurationState, Report, UpdateState
from core.contracts.release import newer

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,63}")
MAX_TAGS = 20
BACKLOG_MESSAGES = 600
"""A minute of a sensor: more than a hiccup of the network."""
CLOCK_ERROR_MS = 50.0
BATTERY_LOW = 15.0
HOT = 80.0
"""Degrees at which a Raspberry Pi slows itself down (its documentation, "Frequency management and thermal control")."""
DISK_LOW = 512 << 20
DAY_MS = 86_400_000
LATE = 0.25
"""Share of the time between a certificate's renewal and its end after which it is no hiccup that it was not renewed."""
FAILED = (UpdateState.ROLLED_BACK, UpdateState.REFUSED)


class Standing(StrEnum):
    LIVE = "live"
    ATTENTION = "attention"
    AWAY = "away"
    NEW = "new"


class Desired(msgspec.Struct, frozen=True):
    """The configuration a kit is to have: settings by their dotted keys."""

    version: int
    settings: dict[str, Any]


class Kit(msgspec.Struct, omit_defaults=True):
    """A kit as the relay knows it; times epoch ms, 0 for never. What it is to have, then what it said."""

    name: str
    added_ms: int = 0
    tags: tuple[str, ...] = ()
    desired: Desired | None = None
    seen_ms: int = 0
    online: bool = False
    report: Report | None = None


class Told(msgspec.Struct, omit_defaults=True, frozen=True):
    """What a kit last said, as it is kept, and as relays of a cluster tell each other."""

    name: str
    seen_ms: int = 0
    online: bool = False
    report: Report | None = None


class Release(msgspec.Struct, omit_defaults=True, frozen=True):
    """A signed bundle that this relay hands out. `components` are what its SBOM names."""

    version: str
    machine: str
    file: str
    sha256: str
    size: int
    made: str
    added_ms: int
    notes: str = ""


class RolloutState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"


class Rollout(msgspec.Struct, omit_defaults=True):
    """A release on its way to those kits that have `tag` (empty: all) and fall below `percent`.

    It halts by itself when more than `most_failed` percent of them refused it or came back from it.
    """

    id: int
    version: str
    tag: str
    percent: float
    state: RolloutState
    created_ms: int
    most_failed: float = 5.0
    reason: str = ""


class Progress(msgspec.Struct):
    """How far a rollout is: kits it concerns now, and what became of it on them."""

    members: int
    done: int
    failed: int
    waiting: int


def told(kit: Kit) -> Told:
    return Told(kit.name, kit.seen_ms, kit.online, kit.report)


def problems(kit: Kit, now_ms: float) -> list[str]:
    """What is the matter with a kit, the gravest first; of one that is away, only what gets worse by itself."""
    report = kit.report
    if report is None:
        return []
    if not kit.online:
        return [text for text in [_certificate_trouble(report, now_ms)] if text]
    found = [
        report.problem,
        _certificate_trouble(report, now_ms),
        "Sensor battery low" if report.battery is not None and report.battery < BATTERY_LOW else "",
        "Disk nearly full" if report.disk_free is not None and report.disk_free < DISK_LOW else "",
        "Too hot" if (report.temperature or 0) >= HOT else "",
        "Clock uncertain" if (report.clock_error_ms or 0) > CLOCK_ERROR_MS else "",
        "Sending what it kept" if report.backlog > BACKLOG_MESSAGES else "",
        _settings_trouble(report),
        _update_trouble(report),
    ]
    return [text for text in found if text]


def _certificate_trouble(report: Report, now_ms: float) -> str:
    """A kit renews its certificate by itself: that it is late means that somebody has to find out why."""
    held = report.certificate
    if held is None:
        return ""
    left_ms, late_ms = held.ends_ms - now_ms, held.renew_ms + LATE * (held.ends_ms - held.renew_ms)
    why = f": {held.problem}" if held.problem else ""
    if not held.ends_ms:
        return f"Certificate unusable{why}"
    if left_ms <= 0:
        return f"Certificate ended {_days(-left_ms)} ago{why}"
    return f"Certificate ends in {_days(left_ms)}{why}" if now_ms >= late_ms else ""


def _days(ms: float) -> str:
    days = int(ms // DAY_MS)
    return f"{days} day{'' if days == 1 else 's'}" if days else "less than a day"


def _settings_trouble(report: Report) -> str:
    told = report.configuration
    if told is None or told.state not in (ConfigurationState.REFUSED, ConfigurationState.ROLLED_BACK):
        return ""
    return f"Settings {told.state.value.replace('_', ' ')}: {told.problem}"


def _update_trouble(report: Report) -> str:
    told = report.update
    if told is None or told.state not in FAILED:
        return ""
    return f"Update to {told.version} {told.state.value.replace('_', ' ')}: {told.problem}"


def standing(kit: Kit, now_ms: float) -> Standing:
    if not kit.seen_ms:
        return Standing.NEW
    if not kit.online:
        return Standing.AWAY
    return Standing.ATTENTION if problems(kit, now_ms) else Standing.LIVE


def valid_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as kept, sorted, each once. ValueError, with words for whoever typed them, for one that is none."""
    kept = tuple(sorted(set(tags)))
    for tag in kept:
        if not TAG.fullmatch(tag):
            raise ValueError(f"{tag[:64]!r} is no tag: letters, digits, spaces and . _ : / -, at most 64 of them")
    if len(kept) > MAX_TAGS:
        raise ValueError(f"a kit has {MAX_TAGS} tags at most")
    return kept


def matches(kit: Kit, query: str) -> bool:
    """Whether a word of a search is in a kit's name, tags, version or sensor; all words must be."""
    report = kit.report
    text = " ".join([kit.name, *kit.tags, report.version if report else "", report.sensor if report else ""]).lower()
    return all(word in text for word in query.lower().split())


def place(rollout: int, kit: str) -> float:
    """Where a kit stands in a rollout's order, 0 to 100: another order each time, the same all along one rollout."""
    digest = hashlib.sha256(f"{rollout}:{kit}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 * 100


def concerns(rollout: Rollout, kit: Kit) -> bool:
    if rollout.tag and rollout.tag not in kit.tags:
        return False
    return rollout.percent >= 100 or place(rollout.id, kit.name) < rollout.percent


def wanted(rollouts: Iterable[Rollout], kit: Kit) -> Rollout | None:
    """The rollout whose release this kit is to fetch: the newest version that concerns it; None when it has that.

    A kit that refused a release or came back from it is not asked again; a paused or halted rollout asks nobody.
    """
    report = kit.report
    if report is None or not report.version:
        return None
    best: Rollout | None = None
    for one in rollouts:
        if concerns(one, kit) and (best is None or newer(one.version, best.version)):
            best = one
    if best is None or best.state is not RolloutState.RUNNING or not newer(best.version, report.version):
        return None
    told = report.update
    if told is not None and told.version == best.version and told.state in FAILED:
        return None
    return best


def progress(rollout: Rollout, kits: Iterable[Kit]) -> Progress:
    found = Progress(0, 0, 0, 0)
    for kit in kits:
        if kit.report is None or not concerns(rollout, kit):
            continue
        found.members += 1
        told = kit.report.update
        if told is not None and told.version == rollout.version and told.state in FAILED:
            found.failed += 1
        elif kit.report.version and not newer(rollout.version, kit.report.version):
            found.done += 1
        else:
            found.waiting += 1
    return found


def must_halt(rollout: Rollout, progress: Progress) -> bool:
    """More failed than the share allowed of those it concerns; the first failure of few kits is already too many."""
    return progress.failed > 0 and progress.failed * 100 > rollout.most_failed * progress.members
