"""What an installation consists of: files with their destinations, and the links to the release that runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from provisioning.errors import InstallFailed


class Part(StrEnum):
    AGENT = "agent"
    RELAY = "relay"


UNITS = {
    Part.AGENT: (
        *("homeside-agent.service", "homeside-enrol.service", "homeside-updater.service"),
        *("homeside-updater.path", "homeside-updater.timer"),
    ),
    Part.RELAY: ("homeside-relay.service",),
}
STARTED = {
    Part.AGENT: ("homeside-enrol.service", "homeside-agent.service", "homeside-updater.path", "homeside-updater.timer"),
    Part.RELAY: ("homeside-relay.service",),
}
UNIT_FOLDER, ROOT = "etc/systemd/system", "opt/homeside"
RECORD = "var/lib/homeside-install/record.json"
AGENT_TOML = """\
# Settings of this kit; docs/settings.md lists them.

# A restart, for an update say, goes on with the session.
[session]
keep = true

[update]
outcome = "/var/lib/homeside-updater/outcome.json"
"""
SETTINGS = {
    Part.AGENT: {
        "etc/homeside/agent.toml": AGENT_TOML,
        "etc/homeside/updater.toml": "# Settings of the updater; docs/settings.md lists them.\n",
    },
    Part.RELAY: {},
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """`files` are ours and replaced; `settings` are created once, then the operator's; `links` point to the release."""

    files: dict[str, bytes]
    settings: dict[str, bytes]
    links: dict[str, str]


def wanted(parts: list[Part], units: Path, release: Path) -> Wanted:
    """The layout, from the release's folder of units; `release` is an environment with bin/homeside in it."""
    if not (release / "bin" / "homeside").exists():
        raise InstallFailed(f"{release} has no bin/homeside: install the wheel into it first")
    files = {f"{UNIT_FOLDER}/{name}": _read(units / name) for part in parts for name in UNITS[part]}
    files["etc/sysusers.d/homeside.conf"] = _read(units / "sysusers.d" / "homeside.conf")
    files["etc/tmpfiles.d/homeside.conf"] = _read(units / "tmpfiles.d" / "homeside.conf")
    settings = {name: text.encode() for part in parts for name, text in SETTINGS[part].items()}
    links = {f"{ROOT}/{name}": str(release) for name in ("current", "trusted")}
    return Wanted(files, settings, links)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InstallFailed(f"{path}: {error.strerror}; the wheel brings it as share/homeside/systemd") from None
