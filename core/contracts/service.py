"""What a service and systemd exchange, as bytes: notifications (sd_notify) and journal entries with fields.

The journal's native protocol (systemd, "Journal Native Protocol"): `KEY=value` lines; a value with line breaks is sent
as KEY, a newline, its length as 64-bit little-endian, and the value.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

READY, STOPPING, ALIVE = b"READY=1", b"STOPPING=1", b"WATCHDOG=1"
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_KEY = re.compile(r"[^A-Z0-9]+")
_BESIDE = ("event", "level", "timestamp", "exception")


class Manager(NamedTuple):
    """The service manager: the address of its socket, and the interval in seconds within which it expects a sign of
    life.
    """

    address: str | None
    within_s: float | None


def manager_of(environment: Mapping[str, str], pid: int) -> Manager:
    """Read from systemd's environment variables (sd_notify, sd_watchdog_enabled); both fields None elsewhere."""
    given = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    within_s = int(given) / 1e6 if given.isdigit() and int(given) and ours else None
    return Manager(environment.get("NOTIFY_SOCKET"), within_s)


def journal_entry(event: Mapping[str, Any], program: str) -> bytes:
    """A log event in the journal's format; every value becomes a field HOMESIDE_… that journalctl can filter by."""
    said = " ".join(f"{key}={value}" for key, value in event.items() if key not in _BESIDE)
    message = "\n".join(filter(None, [f"{event.get('event', '')} {said}".strip(), str(event.get("exception", ""))]))
    fields = {
        "MESSAGE": message,
        "PRIORITY": str(PRIORITIES.get(str(event.get("level")), 6)),
        "SYSLOG_IDENTIFIER": program,
        "HOMESIDE_EVENT": str(event.get("event", "")),
    }
    for key, value in event.items():
        if key not in _BESIDE:
            fields[f"HOMESIDE_{_KEY.sub('_', key.upper()).strip('_')}"[:64]] = str(value)
    return b"".join(_field(key, value.encode("utf-8", "replace")) for key, value in fields.items())


def _field(key: str, value: bytes) -> bytes:
    if b"\n" in value:
        return key.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return key.encode() + b"=" + value + b"\n"
