"""What an operator needs to know about a kit, and which kits are in a rollout. Pure.

A kit is live, needs attention, is away, or has never reported. Its problems are stated in words, the gravest first.
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
"""Unsent messages (one minute of a sensor) from which a backlog is more than a short network problem."""
CLOCK_ERROR_MS = 50.0
BATTERY_LOW = 15.0
HOT = 80.0
"""Temperature (°C) at which a Raspberry Pi slows down (its documentation, "Frequency management and thermal
control").
"""
DISK_LOW = 512 << 20
DAY_MS = 86_400_000
LATE = 0.25
"""Fraction of the time between a certificate's renewal date and its end, after which a missing renewal is a problem."""
FAILED = (UpdateState.ROLLED_BACK, UpdateState.REFUSED)


class Standing(StrEnum):
    LIVE = "live"
    ATTENTION = "attention"
    AWAY = "away"
    NEW = "new"


class Desired(msgspec.Struct, frozen=True):
    """The configuration a kit should have: settings by their dotted keys."""

    version: int
    settings: dict[str, Any]


class Kit(msgspec.Struct, omit_defaults=True):
    """A kit as the relay knows it: first what it should have, then what it reported. Times are epoch ms, 0 for
    never.
    """

    name: str
    added_ms: int = 0
    tags: tuple[str, ...] = ()
    desired: Desired | None = None
    seen_ms: int = 0
    online: bool = False
    report: Report | None = None


class Told(msgspec.Struct, omit_defaults=True, frozen=True):
    """What a kit last reported, as it is stored, and as relays of a cluster tell each other."""

    name: str
    seen_ms: int = 0
    online: bool = False
    report: Report | None = None


class Release(msgspec.Struct, omit_defaults=True, frozen=True):
    """A signed bundle that this relay serves. `components` come from its SBOM."""

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
    """A release rolled out to the kits that have `tag` (empty: all) and whose place is below `percent`.

    It halts by itself when more than `most_failed` percent of them refused it or rolled back.
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
    """Progress of a rollout: the number of kits it concerns now, and what became of it on them."""

    members: int
    done: int
    failed: int
    waiting: int


def told(kit: Kit) -> Told:
    return Told(kit.name, kit.seen_ms, kit.online, kit.report)


def problems(kit: Kit, now_ms: float) -> list[str]:
    """A kit's problems, the gravest first; for a kit that is away, only those that get worse by themselves."""
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
    """A kit renews its certificate by itself; if it is late, somebody has to find out why. Empty if all is well."""
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
    """The tags sorted, each once. Raises ValueError, with a message for whoever typed them, for an invalid one."""
    kept = tuple(sorted(set(tags)))
    for tag in kept:
        if not TAG.fullmatch(tag):
            raise ValueError(f"{tag[:64]!r} is no tag: letters, digits, spaces and . _ : / -, at most 64 of them")
    if len(kept) > MAX_TAGS:
        raise ValueError(f"a kit has {MAX_TAGS} tags at most")
    return kept


def matches(kit: Kit, query: str) -> bool:
    """Whether all words of a search occur in a kit's name, tags, version or sensor."""
    report = kit.report
    text = " ".join([kit.name, *kit.tags, report.version if report else "", report.sensor if report else ""]).lower()
    return all(word in text for word in query.lower().split())


def place(rollout: int, kit: str) -> float:
    """A kit's place in a rollout's order, 0 to 100: different for each rollout, fixed within one."""
    digest = hashlib.sha256(f"{rollout}:{kit}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 * 100


def concerns(rollout: Rollout, kit: Kit) -> bool:
    if rollout.tag and rollout.tag not in kit.tags:
        return False
    return rollout.percent >= 100 or place(rollout.id, kit.name) < rollout.percent


def wanted(rollouts: Iterable[Rollout], kit: Kit) -> Rollout | None:
    """The rollout whose release this kit should fetch: the newest version that concerns it; None if the kit has that.

    A kit that refused a release or rolled it back is not asked again; a paused or halted rollout asks nobody.
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
    """Whether more than the allowed share of the concerned kits failed; with few kits, one failure can be too many."""
    return progress.failed > 0 and progress.failed * 100 > rollout.most_failed * progress.members
