"""Everything the agent can be told, by file (TOML), by environment (`HOMESIDE_AGENT_…`) or by option.

This module alone reads the environment and files of configuration. Options win over the environment, that over the
file. An unknown key is an error that names it.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent.errors import SettingsError
from agent.sections import Broker, Identity, Outbox, Privacy, Session, Source, Update, Video, Vision
from core.contracts.errors import InvalidMessage
from core.contracts.service import Manager, manager_of
from core.contracts.settings import know_all, merged, problems, table_of
from core.contracts.topics import valid_kit

PREFIX = "HOMESIDE_AGENT_"
JOURNAL = "/run/systemd/journal/socket"


def _own_name() -> str:
    name = platform.node().split(".")[0]
    return name if valid_kit(name) else "kit"


def state_folder() -> Path:
    """Where a kit keeps what must outlive a restart, unless it is told otherwise."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "homeside" / "agent"


class AgentSettings(BaseSettings):
    """The agent's settings; see docs/settings.md for the list made from this class."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    kit: str = Field(default_factory=_own_name, description="This kit's name on the broker.")
    state: Path = Field(
        default_factory=state_folder, description="Folder for the outbox; under systemd, the unit's StateDirectory."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    status_every_s: float = Field(
        10.0, ge=1, le=3600, description="Time between two status messages; changes are sent at once."
    )
    trial_s: float = Field(
        120.0,
        ge=1,
        le=3600,
        description="How long new remote settings may take to reach the relay before they are undone.",
    )
    broker: Broker = Broker()
    outbox: Outbox = Outbox()
    session: Session = Session()
    source: Source = Source()
    identity: Identity = Identity()
    update: Update = Update()
    vision: Vision = Vision()
    privacy: Privacy = Privacy()
    video: Video = Video()

    @field_validator("kit")
    @classmethod
    def _a_kits_name(cls, kit: str) -> str:
        if not valid_kit(kit):
            raise ValueError(f"{kit!r} is no kit's name: letters, digits, '.', '_' and '-', at most 64 of them")
        return kit


def service_manager() -> Manager:
    """The service manager we run under, if any."""
    return manager_of(os.environ, os.getpid())


def journal() -> str | None:
    """The journal's socket, when what we write to standard error goes to the journal (systemd.exec, JOURNAL_STREAM)."""
    here = os.fstat(2)
    return JOURNAL if os.environ.get("JOURNAL_STREAM") == f"{here.st_dev}:{here.st_ino}" else None


def load(
    config: Path | None = None, options: dict[str, Any] | None = None, remote: dict[str, Any] | None = None
) -> AgentSettings:
    """Settings from enrolment, a TOML file, the environment, an operator (`remote`) and options; the later wins.

    SettingsError names every bad key.
    """
    config = config or (Path(given) if (given := os.environ.get(PREFIX + "CONFIG")) else None)
    try:
        file = _read(config) if config else {}
        know_all(
            {name: value for name, value in os.environ.items() if name != PREFIX + "CONFIG"}, PREFIX, AgentSettings
        )
        environment = AgentSettings().model_dump(exclude_unset=True)
        known = merged(merged(file, environment), remote or {})
        said = merged(known, options or {})
        return AgentSettings.model_validate(merged(_enrolled(Path(said.get("state") or state_folder())), said))
    except ValidationError as error:
        raise SettingsError(problems(error, AgentSettings)) from None
    except InvalidMessage as error:
        raise SettingsError(str(error)) from None


def _enrolled(state: Path) -> dict[str, Any]:
    """What enrolment wrote, once it was through; everything else that is said wins over it."""
    folder = state / "identity"
    return _read(folder / "agent.toml") if (folder / "kit.pem").is_file() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return table_of(path.read_bytes(), str(path))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}. Check the path given with --config.") from None
