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
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.errors import SettingsError
from core.contracts.service import Manager, manager_of
from core.contracts.topics import valid_kit

PREFIX = "HOMESIDE_AGENT_"
JOURNAL = "/run/systemd/journal/socket"
_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Section):
    ca: Path | None = Field(None, description="PEM file of the authority to trust; empty trusts the system's.")
    cert: Path | None = Field(None, description="PEM certificate this kit shows; empty shows none.")
    key: Path | None = Field(None, description="PEM private key of that certificate.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Tls:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together: give both, or none")
        return self


class Broker(_Section):
    url: str = Field(
        "mqtt://127.0.0.1:1883",
        description="The broker: mqtt://, mqtts:// (TLS), ws:// or wss:// (WebSocket), host, and port if unusual.",
    )
    username: str | None = Field(None, description="User name there; empty is the kit's name when there is a password.")
    password: SecretStr | None = Field(None, description="Password there; better kept in password_file.")
    password_file: Path | None = Field(
        None, description="File whose first line is the password or the kit's token; read at every connection."
    )
    tls: Tls = Tls()
    keepalive_s: int = Field(15, ge=5, le=600, description="Silence after which a connection counts as dead.")
    ack_timeout_s: float = Field(
        5.0, ge=0.5, le=120, description="Wait for the relay's acknowledgement before a message is sent again."
    )

    @field_validator("url")
    @classmethod
    def _a_brokers_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no broker's address; expected mqtt://host:port (or mqtts, ws, wss)")
        _ = parts.port
        return url

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or _PORTS[self.scheme]

    @property
    def path(self) -> str:
        """Where the broker listens for WebSockets."""
        return urlsplit(self.url).path or "/mqtt"

    @property
    def encrypted(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    @property
    def websocket(self) -> bool:
        return self.scheme in ("ws", "wss")

    def login(self, kit: str) -> tuple[str | None, str | None]:
        """User name and password for a connection made now; SettingsError when the file cannot be read."""
        parts = urlsplit(self.url)
        password = self.password.get_secret_value() if self.password else unquote(parts.password or "") or None
        if self.password_file is not None:
            password = _first_line(self.password_file)
        username = self.username or unquote(parts.username or "") or (kit if password else None)
        return username, password


class Outbox(_Section):
    quota_bytes: int = Field(
        2 << 30,
        ge=1 << 20,
        description="Most the unacknowledged may take on disk. Beyond it the oldest go, counted, logged and in status.",
    )


class Session(_Section):
    autostart: bool = Field(True, description="Begin a session when a source is ready; else wait for start_session.")
    resume_within_s: float = Field(
        900.0, ge=0, le=86_400, description="A session last alive within this long goes on after a restart."
    )
    keep: bool = Field(False, description="Leave the session open at exit, so that the next start goes on with it.")


Dialect = Literal["homeside", "slip", "witmotion", "csv", "csv-us", "csv-ms2", "csv-untimed"]


class Serial(_Section):
    port: str | None = Field(None, description="Serial port of the sensor, best by its name in /dev/serial/by-id/.")
    baud: int = Field(115_200, ge=1200, le=4_000_000, description="Bits a second; of no meaning to USB sensors.")
    dialect: Dialect = Field(
        "homeside",
        description="What the sensor speaks: homeside, slip, witmotion, csv, csv-us, csv-ms2 or csv-untimed.",
    )
    rate_hz: float | None = Field(
        None, gt=0, le=4000, description="Rate to set; empty leaves the sensor's own (100 where it does not tell)."
    )
    range_g: float | None = Field(None, gt=0, le=64, description="Range to set; empty leaves the sensor's own.")
    ping_every_s: float = Field(30.0, ge=1, le=3600, description="How often the sensor's clock is asked for.")
    silent_after_s: float = Field(10.0, ge=1, le=600, description="Silence after which the port is opened anew.")


class Ble(_Section):
    device: str = Field(
        min_length=1,
        description="The sensor: its address, its whole name, or a family (polar, movesense, …) for the nearest of it.",
    )
    family: Literal["homeside", "polar", "movesense", "witmotion", "thingy", "banglejs"] | None = Field(
        None, description="What it is, where its advertisement does not tell."
    )
    rate_hz: float | None = Field(None, gt=0, le=4000, description="Rate to set; empty is the family's usual.")
    range_g: float | None = Field(None, gt=0, le=64, description="Range to set; empty is the family's usual.")
    ping_every_s: float = Field(30.0, ge=1, le=3600, description="How often the clock of our own boards is asked for.")
    silent_after_s: float = Field(10.0, ge=1, le=600, description="Silence after which the link is made anew.")


class Replay(_Section):
    file: Path | None = Field(None, description="Recording to send: .csv, .ndjson, .json, each with or without .gz.")
    speed: float = Field(1.0, gt=0, le=1000, description="Seconds of the recording sent in one second.")
    loop: bool = Field(False, description="Begin again at the end; only at speed 1.")

    @model_validator(mode="after")
    def _loops_at_speed_one(self) -> Replay:
        if self.loop and self.speed != 1.0:
            raise ValueError("loop needs speed 1: times would run away from the clock otherwise")
        return self


class Camera(_Section):
    device: str | None = Field(
        None, description="pi, a number or /dev/video…, rtsp:// or http:// address, a video file, or test."
    )
    width: int = Field(640, ge=160, le=1920, description="Picture width asked of the camera.")
    height: int = Field(480, ge=120, le=1920, description="Picture height asked of the camera.")
    fps: float = Field(30.0, gt=0, le=120, description="Pictures a second asked of the camera.")
    rotation: Literal[0, 90, 180, 270] = Field(0, description="Degrees clockwise that make its picture upright.")
    mirror: bool = Field(False, description="The camera's picture is mirrored: put left and right back.")
    exposure_ms: float | None = Field(None, gt=0, le=1000, description="Exposure time; empty lets the camera choose.")
    loop: bool = Field(False, description="Play a video file again at its end.")
    silent_after_s: float = Field(5.0, ge=1, le=600, description="Silence after which the camera is opened anew.")


class Vision(_Section):
    mode: Literal["pose", "hands"] | None = Field(
        None, description="What to look for in the camera's pictures; empty looks at nothing until it is told to."
    )
    backend: Literal["litert", "mediapipe"] = Field(
        "litert", description="What computes: LiteRT, or MediaPipe's Tasks."
    )
    model: Literal["auto", "lite", "full", "heavy"] = Field(
        "auto", description="Which model; auto takes the best this machine can do steadily."
    )
    fps: float = Field(15.0, gt=0, le=60, description="Pictures to look at a second, at most.")
    threads: int = Field(2, ge=1, le=8, description="Threads of the models (LiteRT).")
    memory_bytes: int = Field(
        600 << 20, ge=64 << 20, description="Memory above which the process that looks at pictures is started anew."
    )
    hang_s: float = Field(5.0, ge=1, le=120, description="Silence of that process after which it is started anew.")


class Privacy(_Section):
    led: Path | None = Field(
        None, description="An LED's folder in /sys/class/leds, lit while pictures may leave the home."
    )


class Source(_Section):
    serial: Serial = Serial()
    ble: tuple[Ble, ...] = Field((), description="Sensors over the air, each a table [[source.ble]].")
    bluetooth: str | None = Field(None, description="Bluetooth adapter, such as hci1; empty is the host's first.")
    replay: Replay = Replay()
    camera: Camera = Camera()

    @model_validator(mode="after")
    def _measured_or_replayed(self) -> Source:
        if self.replay.file is not None and (self.serial.port is not None or self.ble):
            raise ValueError("replay.file goes alone: leave serial.port and ble out, or replay")
        names = [one.device for one in self.ble]
        if len(set(names)) < len(names):
            raise ValueError("ble: the same device twice; give each sensor its own address or name")
        return self


class Identity(_Section):
    relay: str = Field(
        "", description="The relay's HTTPS address, where the certificate is renewed; enrolment sets it."
    )


def _own_name() -> str:
    name = platform.node().split(".")[0]
    return name if valid_kit(name) else "kit"


def state_folder() -> Path:
    """Where a kit keeps what must outlive a restart, unless it is told otherwise."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "homeside" / "agent"


class Update(_Section):
    wanted: Path | None = Field(
        None, description="Note for the updater: which release to fetch; empty is update.json in the state folder."
    )
    outcome: Path | None = Field(None, description="File in which the updater says what came of it.")
    relay: str = Field("", description="Base of links that come without one; empty is where the kit enrolled.")


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


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0].strip()
    except OSError as error:
        raise SettingsError(f"broker.password_file: cannot read {path}: {error.strerror}") from None


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
