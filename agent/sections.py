"""The sections of the agent's settings, each a table of the configuration file, with bounds and descriptions.

Models only: `agent/settings.py` alone reads the environment and configuration files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from agent.errors import SettingsError

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
        """The path at which the broker accepts WebSocket connections."""
        return urlsplit(self.url).path or "/mqtt"

    @property
    def encrypted(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    @property
    def websocket(self) -> bool:
        return self.scheme in ("ws", "wss")

    def login(self, kit: str) -> tuple[str | None, str | None]:
        """User name and password for a new connection; SettingsError when the password file cannot be read."""
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
    threads: int = Field(
        0, ge=0, le=8, description="Threads of the models (LiteRT); 0 measures how many are quickest here."
    )
    memory_bytes: int = Field(
        600 << 20, ge=64 << 20, description="Memory above which the process that looks at pictures is started anew."
    )
    hang_s: float = Field(5.0, ge=1, le=120, description="Silence of that process after which it is started anew.")


class IceServer(_Section):
    url: str = Field(pattern=r"^(stun|stuns|turn|turns):[^\s]+$", description="Such as turns:turn.example.org:443.")
    username: str = Field("", description="Name at a TURN server.")
    password: SecretStr = Field(SecretStr(""), description="Its password.")


class Video(_Section):
    relay: str = Field(
        "", description="Base of the relay that shows this kit's camera, http(s)://host:port; empty sends no picture."
    )
    token_file: Path | None = Field(
        None, description="File whose first line is the kit's token there; empty takes the broker's password."
    )
    codec: Literal["H264", "VP8"] = Field("H264", description="What pictures are encoded as.")
    most_kbps: int = Field(1600, ge=200, le=8000, description="Most the pictures may take of the line.")
    ice_servers: tuple[IceServer, ...] = Field(
        (), description="STUN and TURN servers: tables of url, username, password. None by default."
    )

    @field_validator("relay")
    @classmethod
    def _a_web_address(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError(f"{url!r} is no relay's address; expected http://host:port or https://host:port")
        return url.rstrip("/")


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


class Update(_Section):
    wanted: Path | None = Field(
        None, description="Note for the updater: which release to fetch; empty is update.json in the state folder."
    )
    outcome: Path | None = Field(None, description="File in which the updater says what came of it.")
    relay: str = Field("", description="Base of links that come without one; empty is where the kit enrolled.")


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0].strip()
    except OSError as error:
        raise SettingsError(f"broker.password_file: cannot read {path}: {error.strerror}") from None
