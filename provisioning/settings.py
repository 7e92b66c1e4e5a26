"""What the updater and the installer can be told, by file (TOML) or by environment (`HOMESIDE_UPDATER_…`).

This module alone reads the environment and files of configuration here. An unknown key is an error that names it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from provisioning.errors import SettingsError


class UpdaterSettings(BaseSettings):
    """The updater's settings; see docs/settings.md for the list made from this class."""

    model_config = SettingsConfigDict(env_prefix="HOMESIDE_UPDATER_", extra="forbid", frozen=True)

    root: Path = Field(Path("/opt/homeside"), description="Folder of the two slots and the links current and trusted.")
    state: Path = Field(Path("/var/lib/homeside-updater"), description="Folder of the journal, outcome and download.")
    keys: Path = Field(Path("/etc/homeside/release-keys"), description="Public keys whose releases are taken.")
    wanted: Path = Field(Path("/var/lib/homeside-agent/update.json"), description="The agent's note of what to fetch.")
    health: Path = Field(Path("/var/lib/homeside-agent/health.json"), description="What the agent says of itself.")
    mirrors: tuple[str, ...] = Field(
        (), description="Folders or http(s) addresses asked for a bundle before the relay, as a JSON list."
    )
    ca: Path | None = Field(None, description="PEM file of the authority to trust; empty trusts the system's.")
    restart: tuple[str, ...] = Field(
        ("systemctl", "restart", "homeside-agent.service"), description="What restarts the agent, as a JSON list."
    )
    healthy_within_s: float = Field(
        180.0, gt=0, le=3600, description="How long a new release may take to be as well as the old one."
    )
    system_packages: bool = Field(True, description="Let the agent see Debian's packages too, such as picamera2.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file, which `load` passes in."""
        return (env_settings, init_settings)


def load_updater(config: Path | None = None) -> UpdaterSettings:
    """SettingsError names every bad key."""
    try:
        return UpdaterSettings(**_read(config) if config is not None else {})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{problems}. docs/settings.md lists every key.") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
