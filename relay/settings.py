"""Everything the relay can be told, by file (TOML), by environment (`HOMESIDE_RELAY_…`) or by option.

This module alone reads the environment and files of configuration. Options win over the environment, that over the
file. An unknown key is an error that names it.
"""

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.contracts.errors import InvalidMessage
from core.contracts.service import Manager, manager_of
from core.contracts.settings import know_all, merged, problems, table_of
from relay.errors import SettingsError
from relay.sections import (
    Cluster,
    Identity,
    Limits,
    Mqtt,
    Physio,
    Ports,
    Retention,
    Signs,
    Storage,
    Timers,
    Tls,
    Tracing,
    Video,
)

Api = Literal["scg", "signs", "video"]

PREFIX = "HOMESIDE_RELAY_"
JOURNAL = "/run/systemd/journal/socket"
DOCUMENTED_NAMES = {
    "DATABASE_URL": "database_url",
    "DATABASE_POOL_MAX": "database_connections",
    "JWT_SECRET": "physio.jwt_secret",
    "JWT_EXPIRATION_HOURS": "physio.access_hours",
    "REFRESH_TOKEN_EXPIRATION_DAYS": "physio.refresh_days",
    "API_PORT": "ports.care",
    "CORS_ORIGINS": "physio.cors_origins",
    "RATE_LIMIT_WINDOW_MS": "physio.window_ms",
    "RATE_LIMIT_MAX_REQUESTS": "physio.requests",
    "ENCRYPTION_KEY": "physio.encryption_key",
    "LOG_LEVEL": "log_level",
    "STORAGE_BUCKET_NAME": "storage.bucket",
    "STORAGE_REGION": "storage.region",
    "GEMINI_API_KEY": "signs.gemini_key",
}
"""Names of the physiotherapy document's own example environment, accepted below ours."""


class RelaySettings(BaseSettings):
    """The relay's settings; see docs/settings.md for the list made from this class."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    data: Path = Field(Path("relay-data"), description="Folder for the database, the secret and the certificate.")
    host: str = Field(
        "127.0.0.1",
        description="Address the documented ports listen on; any address but loopback requires a token.",
    )
    public_url: str = Field(
        "",
        description="Base of the links in answers, such as https://heart.example.org; empty: the request's own.",
    )
    open_apis: tuple[Api, ...] = Field((), description="APIs that require no token even beyond loopback.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    commit_every_ms: int = Field(100, ge=0, le=5000, description="Shortest time between two commits of samples.")
    link_hours: float = Field(24.0, gt=0, le=24 * 30, description="Lifetime of a signed link to a session.")
    database_url: str = Field(
        "", description="postgresql://user:password@host:5432/name; empty uses SQLite in the data folder."
    )
    database_connections: int = Field(20, ge=2, le=500, description="Maximum number of connections to PostgreSQL.")
    ports: Ports = Ports()
    physio: Physio = Physio()
    storage: Storage = Storage()
    mqtt: Mqtt = Mqtt()
    timers: Timers = Timers()
    cluster: Cluster = Cluster()
    retention: Retention = Retention()
    tracing: Tracing = Tracing()
    signs: Signs = Signs()
    tls: Tls = Tls()
    identity: Identity = Identity()
    video: Video = Video()
    limits: Limits = Limits()


def service_manager() -> Manager:
    """The service manager we run under, if any."""
    return manager_of(os.environ, os.getpid())


def journal() -> str | None:
    """The journal's socket, when what we write to standard error goes to the journal (systemd.exec, JOURNAL_STREAM)."""
    here = os.fstat(2)
    return JOURNAL if os.environ.get("JOURNAL_STREAM") == f"{here.st_dev}:{here.st_ino}" else None


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(config: Path | None = None, options: dict[str, Any] | None = None) -> RelaySettings:
    """Settings from a TOML file, the environment and options; the later wins. SettingsError names every bad key."""
    try:
        file = _read(config) if config else {}
        know_all(os.environ, PREFIX, RelaySettings)
        environment = merged(_documented(), RelaySettings().model_dump(exclude_unset=True))
        return RelaySettings.model_validate(merged(merged(file, environment), options or {}))
    except ValidationError as error:
        raise SettingsError(problems(error, RelaySettings)) from None
    except InvalidMessage as error:
        raise SettingsError(str(error)) from None


def _documented() -> dict[str, Any]:
    """What the document's own names say in the environment."""
    found: dict[str, Any] = {}
    for name, key in DOCUMENTED_NAMES.items():
        if value := os.environ.get(name):
            section, _, field = key.rpartition(".")
            try:
                given = json.loads(value) if value.startswith("[") else value
            except json.JSONDecodeError:
                raise SettingsError(f'environment: {name}: not JSON; a list is ["a", "b"]') from None
            found = merged(found, {section: {field: given}} if section else {field: given})
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return table_of(path.read_bytes(), str(path))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}. Check the path given with --config.") from None
