"""This machine's figures for status: temperature, free disk, memory, uptime, installed packages.

Nothing is sent from here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
import resource
import shutil
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
_SEPARATORS = re.compile(r"[-_.]+")


def platform_tag() -> str:
    """The platform that releases must match to run here, such as cp311-aarch64."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}"


def figures(state: Path) -> dict[str, Any]:
    """Figures for status: °C, bytes and seconds; those this machine does not provide are left out."""
    found: dict[str, Any] = {"platform": platform_tag(), "temperature": temperature()}
    with suppress(OSError):
        found["diskFree"] = shutil.disk_usage(state).free
    with suppress(OSError, ValueError):
        found["memory"] = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        found["upS"] = int(float(Path("/proc/uptime").read_text().split()[0]))
    return {key: value for key, value in found.items() if value is not None}


def temperature(path: Path = THERMAL) -> float | None:
    """Temperature of the processor in °C (kernel, Documentation/driver-api/thermal/sysfs-api)."""
    with suppress(OSError, ValueError):
        return round(int(path.read_text()) / 1000, 1)
    return None


@cache
def packages() -> tuple[str, dict[str, str]]:
    """A digest of the list of installed distributions, and that list, name to version."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        if one.name:
            found.setdefault(_SEPARATORS.sub("-", one.name).lower(), one.version)
    listed = dict(sorted(found.items()))
    return hashlib.sha256(msgspec.json.encode(listed)).hexdigest(), listed
