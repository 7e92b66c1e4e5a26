"""A kit's status message, reduced to what the operators of a fleet need. It contains no patient data.

`report` accepts status messages of older and newer kits: a field that is missing or malformed counts as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec

_T = TypeVar("_T")
_Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
TEXT = 300
"""Characters kept of any text from a kit, so that a faulty kit cannot fill the relay's storage."""


class ConfigurationState(StrEnum):
    """State of a configuration on a kit. `taken`: saved to disk, and the kit is about to restart with it."""

    TAKEN = "taken"
    TRYING = "trying"
    APPLIED = "applied"
    REFUSED = "refused"
    ROLLED_BACK = "rolled_back"


class UpdateState(StrEnum):
    """State of a release on a kit."""

    FETCHING = "fetching"
    UNPACKING = "unpacking"
    TRYING = "trying"
    DONE = "done"
    REFUSED = "refused"
    ROLLED_BACK = "rolled_back"


class Configured(msgspec.Struct, omit_defaults=True, frozen=True):
    """The newest configuration a kit has received, and its state. `version` increases with every change."""

    version: int
    state: ConfigurationState
    problem: str = ""


class Updated(msgspec.Struct, omit_defaults=True, frozen=True):
    """The newest release a kit was told to install, and its state."""

    version: str
    state: UpdateState
    problem: str = ""


class Certified(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The kit's certificate: when it expires and when to renew it (epoch ms), and why the last renewal failed, if it
    did.
    """

    ends_ms: _Moment
    renew_ms: _Moment
    problem: str = ""


class Report(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """Times in ms, temperature in °C, free disk in bytes; `battery` is the lowest of the kit's sensors, in percent.

    `packages` is the digest of the list of installed packages; `platform` is what releases must match, such as
    cp311-aarch64.
    """

    version: str = ""
    session: str | None = None
    backlog: int = 0
    oldest_ms: int | None = None
    clock_error_ms: float | None = None
    battery: float | None = None
    temperature: float | None = None
    disk_free: int | None = None
    sensor: str = ""
    rate_hz: float | None = None
    problem: str = ""
    dropped: int = 0
    packages: str = ""
    platform: str = ""
    configuration: Configured | None = None
    update: Updated | None = None
    certificate: Certified | None = None


def report(payload: Mapping[str, Any]) -> Report:
    """The report for a status message's payload."""
    sources = [one for one in _list(payload, "sources") if isinstance(one, Mapping)]
    first: Mapping[str, Any] = sources[0] if sources else {}
    outbox, machine = _part(payload, "outbox"), _part(payload, "machine")
    batteries = [level for one in sources if (level := _number(one, "batteryPercent")) is not None]
    return Report(
        version=_text(payload, "version"),
        session=_text(payload, "session") or None,
        backlog=_whole(payload, "backlog") or 0,
        oldest_ms=_whole(payload, "oldestMs"),
        clock_error_ms=_number(payload, "clockErrorMs"),
        battery=min(batteries, default=None),
        temperature=_number(machine, "temperature"),
        disk_free=_whole(machine, "diskFree"),
        sensor=_text(first, "sensor") or _text(first, "name"),
        rate_hz=_number(first, "rateHz"),
        problem=_problem(payload, sources),
        dropped=_whole(outbox, "dropped") or 0,
        packages=_text(payload, "packages"),
        platform=_text(machine, "platform"),
        configuration=_told(payload, "configuration", Configured),
        update=_told(payload, "update", Updated),
        certificate=_told(payload, "certificate", Certified),
    )


def _problem(payload: Mapping[str, Any], sources: list[Mapping[str, Any]]) -> str:
    """The first problem reported, looking at the sensors before the connection."""
    found = [_text(one, "problem") for one in sources] + [_text(_part(payload, "uplink"), "problem")]
    return next((text for text in found if text), "")


def _told(payload: Mapping[str, Any], key: str, kind: type[_T]) -> _T | None:
    told = {name: one[:TEXT] if isinstance(one, str) else one for name, one in _part(payload, key).items()}
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError:
        return None


def _part(payload: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = payload.get(key)
    return found if isinstance(found, Mapping) else {}


def _list(payload: Mapping[str, Any], key: str) -> list[Any]:
    found = payload.get(key)
    return found if isinstance(found, list) else []


def _text(payload: Mapping[str, Any], key: str) -> str:
    found = payload.get(key)
    return found[:TEXT] if isinstance(found, str) else ""


def _number(payload: Mapping[str, Any], key: str) -> float | None:
    found = payload.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def _whole(payload: Mapping[str, Any], key: str) -> int | None:
    found = _number(payload, key)
    return None if found is None else int(found)
