"""What the updater and the installer can be told, by file (TOML) or by environment (`HOMESIDE_UPDATER_…`).

This module alone reads the environment and files of configuration here. An unknown key is an error that names it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.contracts.errors import InvalidMessage
from core.contracts.settings import know_all, merged, problems, table_of
from provisioning.errors import SettingsError

PREFIX = "HOMESIDE_UPDATER_"


class UpdaterSettings(BaseSettings):
    """The updater's settings; see docs/settings.md for the list made from this class."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    root: Path = Field(
        Path("/opt/homeside"), description="Folder of the two slots and of the links current and trusted."
    )
    state: Path = Field(
        Path("/var/lib/homeside-updater"), description="Folder for the journal, the outcome and the download."
    )
    keys: Path = Field(Path("/etc/homeside/release-keys"), description="Public keys whose releases are accepted.")
    wanted: Path = Field(
        Path("/var/lib/homeside-agent/update.json"), description="Note from the agent: which release to fetch."
    )
    health: Path = Field(
        Path("/var/lib/homeside-agent/health.json"), description="File in which the agent reports its health."
    )
    mirrors: tuple[str, ...] = Field(
        (), description="Folders or http(s) addresses tried for a bundle before the relay, as a JSON list."
    )
    ca: Path | None = Field(None, description="PEM certificates of the authority to trust; empty trusts the system's.")
    restart: tuple[str, ...] = Field(
        ("systemctl", "restart", "homeside-agent.service"),
        description="Command that restarts the agent, as a JSON list.",
    )
    healthy_within_s: float = Field(
        180.0, gt=0, le=3600, description="How long a new release may take to be as healthy as the old one."
    )
    system_packages: bool = Field(
        True, description="Let the agent also use Debian's Python packages, such as picamera2."
    )


def load_updater(config: Path | None = None) -> UpdaterSettings:
    """Settings from a TOML file and the environment, which wins. SettingsError names every bad key."""
    try:
        know_all(os.environ, PREFIX, UpdaterSettings)
        environment = UpdaterSettings().model_dump(exclude_unset=True)
        return UpdaterSettings.model_validate(merged(_read(config) if config is not None else {}, environment))
    except ValidationError as error:
        raise SettingsError(problems(error, UpdaterSettings)) from None
    except InvalidMessage as error:
        raise SettingsError(str(error)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return table_of(path.read_bytes(), str(path))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
