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
    ca: Path | None = Field(None, description="PEM certificates of the authority to trust; empty trusts the system's.")
    cert: Path | None = Field(None, description="PEM certificate this kit presents; empty presents none.")
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
    username: str | None = Field(None, description="User name; empty uses the kit's name if there is a password.")
    password: SecretStr | None = Field(None, description="Password; password_file is the safer place for it.")
    password_file: Path | None = Field(
        None, description="File whose first line is the password or the kit's token; read again at every connection."
    )
    tls: Tls = Tls()
    keepalive_s: int = Field(15, ge=5, le=600, description="Silence after which the connection is considered lost.")
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
        description="Disk space for unacknowledged data. When full, the oldest is deleted, counted and reported.",
    )


class Session(_Section):
    autostart: bool = Field(True, description="Begin a session when a source is ready; false waits for start_session.")
    resume_within_s: float = Field(
        900.0,
        ge=0,
        le=86_400,
        description="After a restart, continue a session that was running at most this long ago.",
    )
    keep: bool = Field(False, description="Leave the session open at exit, so that the next start continues it.")


Dialect = Literal["homeside", "slip", "witmotion", "csv", "csv-us", "csv-ms2", "csv-untimed"]


class Serial(_Section):
    port: str | None = Field(None, description="Serial port of the sensor, preferably its name in /dev/serial/by-id/.")
    baud: int = Field(115_200, ge=1200, le=4_000_000, description="Bits per second; USB sensors ignore it.")
    dialect: Dialect = Field(
        "homeside",
        description="Format the sensor sends: homeside, slip, witmotion, csv, csv-us, csv-ms2 or csv-untimed.",
    )
    rate_hz: float | None = Field(
        None, gt=0, le=4000, description="Rate to set; empty keeps the sensor's (taken as 100 if it does not say)."
    )
    range_g: float | None = Field(None, gt=0, le=64, description="Range to set; empty keeps the sensor's.")
    ping_every_s: float = Field(30.0, ge=1, le=3600, description="Time between two readings of the sensor's clock.")
    silent_after_s: float = Field(10.0, ge=1, le=600, description="Silence after which the port is opened again.")


class Ble(_Section):
    device: str = Field(
        min_length=1,
        description="The sensor: its address, its full name, or a family (polar, movesense, …) for the nearest one.",
    )
    family: Literal["homeside", "polar", "movesense", "witmotion", "thingy", "banglejs"] | None = Field(
        None, description="Family of the sensor, if its advertisement does not show it."
    )
    rate_hz: float | None = Field(None, gt=0, le=4000, description="Rate to set; empty sets the family's usual rate.")
    range_g: float | None = Field(None, gt=0, le=64, description="Range to set; empty sets the family's usual range.")
    ping_every_s: float = Field(
        30.0, ge=1, le=3600, description="Time between two readings of the clock of one of our boards."
    )
    silent_after_s: float = Field(10.0, ge=1, le=600, description="Silence after which the sensor is connected again.")


class Replay(_Section):
    file: Path | None = Field(None, description="Recording to send: .csv, .ndjson or .json, optionally with .gz.")
    speed: float = Field(1.0, gt=0, le=1000, description="Seconds of the recording sent per second.")
    loop: bool = Field(False, description="Start again at the end; only at speed 1.")

    @model_validator(mode="after")
    def _loops_at_speed_one(self) -> Replay:
        if self.loop and self.speed != 1.0:
            raise ValueError("loop needs speed 1: times would run away from the clock otherwise")
        return self


class Camera(_Section):
    device: str | None = Field(
        None, description="pi, a number or /dev/video…, an rtsp:// or http:// address, a video file, or test."
    )
    width: int = Field(640, ge=160, le=1920, description="Picture width requested from the camera.")
    height: int = Field(480, ge=120, le=1920, description="Picture height requested from the camera.")
    fps: float = Field(30.0, gt=0, le=120, description="Pictures per second requested from the camera.")
    rotation: Literal[0, 90, 180, 270] = Field(
        0, description="Degrees to turn the picture clockwise to make it upright."
    )
    mirror: bool = Field(False, description="The camera mirrors its picture: swap left and right back.")
    exposure_ms: float | None = Field(None, gt=0, le=1000, description="Exposure time; empty lets the camera choose.")
    loop: bool = Field(False, description="Play a video file again when it ends.")
    silent_after_s: float = Field(5.0, ge=1, le=600, description="Silence after which the camera is opened again.")


class Vision(_Section):
    mode: Literal["pose", "hands"] | None = Field(
        None, description="What to detect in the camera's pictures; empty detects nothing until a command asks for it."
    )
    backend: Literal["litert", "mediapipe"] = Field(
        "litert", description="Library that runs the models: LiteRT, or MediaPipe Tasks."
    )
    model: Literal["auto", "lite", "full", "heavy"] = Field(
        "auto", description="Size of the model; auto takes the best one this machine can run steadily."
    )
    fps: float = Field(15.0, gt=0, le=60, description="Maximum number of pictures analysed per second.")
    threads: int = Field(0, ge=0, le=8, description="Threads per model (LiteRT); 0 measures which number is fastest.")
    memory_bytes: int = Field(
        600 << 20, ge=64 << 20, description="Memory above which the process that analyses pictures is restarted."
    )
    hang_s: float = Field(5.0, ge=1, le=120, description="Silence after which that process is restarted.")


class IceServer(_Section):
    url: str = Field(
        pattern=r"^(stun|stuns|turn|turns):[^\s]+$", description="Address, such as turns:turn.example.org:443."
    )
    username: str = Field("", description="User name at a TURN server.")
    password: SecretStr = Field(SecretStr(""), description="Password at a TURN server.")


class Video(_Section):
    relay: str = Field(
        "", description="The relay that shows this kit's camera, http(s)://host:port; empty sends no pictures."
    )
    token_file: Path | None = Field(
        None, description="File whose first line is the kit's token for that relay; empty uses the broker's password."
    )
    codec: Literal["H264", "VP8"] = Field("H264", description="Codec of the pictures.")
    most_kbps: int = Field(1600, ge=200, le=8000, description="Maximum bit rate of the pictures.")
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
        None, description="Folder of an LED in /sys/class/leds; it is lit while pictures may leave the home."
    )


class Source(_Section):
    serial: Serial = Serial()
    ble: tuple[Ble, ...] = Field((), description="Bluetooth sensors, each a table [[source.ble]].")
    bluetooth: str | None = Field(None, description="Bluetooth adapter, such as hci1; empty uses the host's first.")
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
    relay: str = Field("", description="HTTPS address of the relay that renews the certificate; set by enrolment.")


class Update(_Section):
    wanted: Path | None = Field(
        None,
        description="Note that tells the updater which release to fetch; empty is update.json in the state folder.",
    )
    outcome: Path | None = Field(None, description="File in which the updater reports the outcome.")
    relay: str = Field("", description="Base of relative links to bundles; empty uses the relay that enrolled the kit.")


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0].strip()
    except OSError as error:
        raise SettingsError(f"broker.password_file: cannot read {path}: {error.strerror}") from None
