"""Everything the agent can be told, by file (TOML), by environment (`HOMESIDE_AGENT_…`) or by option.

This module alone reads the environment and files of configuration. Options win over the environment, that over the
file. An unknown key is an error that names it.
"""

from __future__ import annotations

import difflib
import os
import platform
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.errors import SettingsError
from agent.sections import Broker, Identity, Outbox, Privacy, Session, Source, Update, Video, Vision
from core.contracts.service import Manager, manager_of
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

    kit: str = Field(default_factory=_own_name, description="This kit's name on the broker; empty is the host's name.")
    state: Path = Field(
        default_factory=state_folder, description="Folder of the outbox; under systemd the unit's StateDirectory."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line written."
    )
    status_every_s: float = Field(
        10.0, ge=1, le=3600, description="How often status is published; also when it changes."
    )
    trial_s: float = Field(
        120.0,
        ge=1,
        le=3600,
        description="How long settings from afar may take to reach the relay before they are undone.",
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What `load` passes in comes from the file and from options, already merged."""
        return (init_settings, env_settings)


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
        _know_environment()
        environment = AgentSettings().model_dump(exclude_unset=True)
        known = _merge(_merge(file, environment), remote or {})
        said = _merge(known, options or {})
        return AgentSettings.model_validate(_merge(_enrolled(Path(said.get("state") or state_folder())), said))
    except ValidationError as error:
        problems = "; ".join(_problem(found["loc"], found["type"], found["msg"]) for found in error.errors())
        raise SettingsError(f"{problems}. docs/settings.md lists every key.") from None


def _enrolled(state: Path) -> dict[str, Any]:
    """What enrolment wrote, once it was through; everything else that is said wins over it."""
    folder = state / "identity"
    return _read(folder / "agent.toml") if (folder / "kit.pem").is_file() else {}


def _problem(where: tuple[int | str, ...], kind: str, text: str) -> str:
    name = ".".join(map(str, where))
    if kind != "extra_forbidden":
        return f"{name}: {text.removeprefix('Value error, ')}"
    near = difflib.get_close_matches(str(where[-1]), _keys(where[:-1]), n=1)
    return f"{name}: no such setting" + (f" (did you mean {near[0]}?)" if near else "")


def _keys(where: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = AgentSettings
    for part in where:
        if isinstance(part, int):
            continue
        below = section.model_fields[part].annotation if part in section.model_fields else None
        below = next((kind for kind in get_args(below) if isinstance(kind, type)), below)
        if not (isinstance(below, type) and issubclass(below, BaseModel)):
            return []
        section = below
    return list(section.model_fields)


def _know_environment() -> None:
    """pydantic-settings looks for the names it knows; a misspelt one would be passed over in silence."""
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable == PREFIX + "CONFIG":
            continue
        path = tuple(variable[len(PREFIX) :].lower().split("__"))
        if path[-1] not in _keys(path[:-1]):
            raise SettingsError(f"environment: {variable}: {_problem(path, 'extra_forbidden', '')}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}. Check the path given with --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
