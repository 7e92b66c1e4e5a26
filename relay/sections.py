"""The sections of the relay's settings, each a table of its configuration file: what may stand there and what it means.

Models only: `relay/settings.py` alone reads the environment and files of configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ports(_Section):
    scg: int = Field(8000, ge=0, le=65535, description="Port of the OpenSCG API and of the pages; 0 takes a free one.")
    care: int = Field(
        3000, ge=0, le=65535, description="Port of the physiotherapy and timers APIs; 0 takes a free one."
    )
    signs: int = Field(8001, ge=0, le=65535, description="Port of the sign detection WebSocket; 0 takes a free one.")
    translate: int = Field(8002, ge=0, le=65535, description="Port of sign translation; 0 takes a free one.")


class Timers(_Section):
    write_behind_ms: int = Field(
        40, ge=0, le=100, description="Rest before changed timers are committed; what a kill -9 may cost, and a commit."
    )
    write_through: bool = Field(False, description="Answer a timer's change only when it is committed.")
    switches_per_s: int = Field(10, ge=1, le=100_000, description="Switches a second in one timer session.")
    sessions: int = Field(50_000, ge=1, description="Timer sessions held in memory at once.")
    sockets: int = Field(10_000, ge=1, description="Sockets of timer sessions at once.")


class Physio(_Section):
    jwt_secret: str = Field("", description="Signs access tokens; empty uses the secret in the data folder.")
    access_hours: float = Field(24.0, gt=0, le=24 * 30, description="How long an access token holds.")
    refresh_days: float = Field(30.0, gt=0, le=365, description="How long a refresh token holds.")
    link_hours: float = Field(1.0, gt=0, le=24 * 7, description="How long an upload or playback link holds.")
    requests: int = Field(100, ge=1, description="Requests a user, or an address not signed in, may make a window.")
    stream_requests: int = Field(20_000, ge=1, description="The same for bodies of frames and pieces of video.")
    window_ms: int = Field(900_000, ge=1000, description="The window of both.")
    failed_sign_ins: int = Field(10, ge=1, description="Failed sign-ins per account and address a window.")
    video_bytes: int = Field(2 * 1024**3, ge=1024, description="Largest video taken.")
    consent_required: bool = Field(True, description="Refuse frames and videos of a patient who has not agreed.")
    encryption_key: str = Field(
        "", description="Seals the sensitive columns; empty uses a key made in the data folder. Keep a copy of either."
    )
    cors_origins: tuple[str, ...] = Field((), description="Origins whose pages may call the API, as a JSON list.")


class Storage(_Section):
    bucket: str = Field("", description="Bucket of an S3-compatible storage for videos; empty keeps them in `data`.")
    endpoint: str = Field("", description="Its address, such as https://s3.example.org; empty is AWS's own.")
    region: str = Field("us-east-1", description="Its region.")
    access_key: str = Field("", description="Id of the key that may read, write, list and delete in it.")
    secret_key: str = Field("", description="The key itself.")
    prefix: str = Field("videos/", description="What the names of all objects begin with.")


class Signs(_Section):
    gemini_key: str = Field("", description="Key of the Gemini API; empty translates with the offline speller alone.")
    gemini_model: str = Field("gemini-2.5-flash", description="Model that translates.")
    gemini_url: str = Field("", description="Another address of the Gemini API; empty uses the service's own.")
    gemini_timeout_s: float = Field(8.0, gt=0, le=120, description="Deadline of one translation, retries included.")
    detectors: int = Field(2, ge=0, le=64, description="Frames looked at side by side; 0 looks at none.")
    clients: int = Field(500, ge=1, description="Sockets of signing clients at once.")
    batch_hosts: tuple[str, ...] = Field(
        (), description="Hosts whose videos may be fetched although their address is private, by name."
    )
    batch_bytes: int = Field(200 * 1024**2, ge=1024, description="Largest video fetched or uploaded.")
    batch_minutes: float = Field(10.0, gt=0, le=240, description="Longest video read.")
    batch_fetch_s: float = Field(120.0, gt=0, le=3600, description="Longest time fetching a video may take.")
    batch_jobs: int = Field(20, ge=1, le=1000, description="Videos waiting at once; further ones are refused.")


class Mqtt(_Section):
    url: str = Field(
        "",
        description="What kits and relay meet on: empty runs a broker inside the relay; mqtt://user:password@host:port"
        " uses a site's; nats://host:4222,host:4222 makes this one of a cluster's relays.",
    )
    host: str = Field("127.0.0.1", description="Address the broker inside the relay listens on.")
    port: int = Field(1883, ge=0, le=65535, description="Its port; 0 takes a free one.")
    tls: bool = Field(False, description="Speak TLS with kits there, by the certificate of [tls]; none is anonymous.")
    tokens: bool = Field(True, description="Let kits in by token as well; false asks every kit for its certificate.")


class Cluster(_Section):
    name: str = Field("", description="This relay's name among the others; empty makes one at every start.")
    replicas: int = Field(3, ge=1, le=5, description="Copies NATS keeps of what kits sent and is not yet committed.")
    partitions: int = Field(
        8, ge=1, le=256, description="Ways kits are shared out among relays; the NATS servers' mapping says the same."
    )
    stream_mb: int = Field(8192, ge=64, description="Room for that on each NATS server; beyond it the oldest goes.")
    history_url: str = Field(
        "", description="A read replica for recordings that ended a minute ago; empty reads from database_url."
    )


class Retention(_Section):
    remove_days: float = Field(
        0.0, ge=0, le=36_500, description="Days after its end that a recording is removed; 0 keeps all for ever."
    )
    thin_days: float = Field(
        0.0, ge=0, le=36_500, description="Days after its end that a recording is brought down to thin_hz; 0 never."
    )
    thin_hz: float = Field(25.0, ge=1, le=1000, description="That rate, in samples a second.")
    spare_days: float = Field(
        0.0,
        ge=0,
        le=36_500,
        description="Days longer that a recording of an exercise nobody has reviewed is left as it is; 0 for ever.",
    )


class Tracing(_Section):
    endpoint: str = Field("", description="Collector of traces, http://host:4318/v1/traces; empty makes none.")
    every: int = Field(100, ge=1, description="One message of a patient in so many is traced.")


class Tls(_Section):
    enabled: bool = Field(False, description="Serve everything on one public port with TLS, for phones and a ward.")
    host: str = Field("0.0.0.0", description="Address of the public port.")  # noqa: S104 - asked for with --tls
    port: int = Field(8443, ge=0, le=65535, description="Number of the public port.")
    certificate: Path | None = Field(None, description="PEM certificate chain; empty makes an own one on first use.")
    key: Path | None = Field(None, description="PEM private key of that certificate.")
    names: tuple[str, ...] = Field((), description="More names and addresses for the own certificate, as a JSON list.")
    hsts_days: int = Field(365, ge=0, le=3650, description="How long browsers keep to TLS (HSTS); 0 does not ask.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: give both, or none for an own certificate")
        return self


class Identity(_Section):
    certificate_days: float = Field(90.0, gt=0, le=825, description="How long a kit's certificate holds.")
    grace_days: float = Field(30.0, ge=0, le=365, description="So long after its end a kit may still renew it.")
    claim_hours: float = Field(24.0, gt=0, le=24 * 90, description="How long a claim can be spent.")
    broker_url: str = Field(
        "", description="The broker kits are told of, such as mqtts://ward.example.org:8883; empty is the one inside."
    )
    root: Path | None = Field(None, description="PEM root of an outside authority; empty makes an own one.")
    issuer: Path | None = Field(None, description="PEM issuer which that root signed, for kits.")
    issuer_key: Path | None = Field(None, description="PEM private key of that issuer, on P-256.")

    broker_files: Path | None = Field(
        None, description="Folder that `homeside kits broker-config` wrote; kept up to date from then on."
    )
    broker_pid: Path | None = Field(None, description="File with that broker's process id, to have it reload.")

    @model_validator(mode="after")
    def _all_or_none(self) -> Identity:
        given = [self.root, self.issuer, self.issuer_key]
        if any(given) and not all(given):
            raise ValueError("root, issuer and issuer_key go together: give all three, or none")
        return self


class IceServer(_Section):
    url: str = Field(pattern=r"^(stun|stuns|turn|turns):[^\s]+$", description="Such as turns:turn.example.org:443.")
    username: str = Field("", description="Name at a TURN server.")
    password: SecretStr = Field(SecretStr(""), description="Its password.")


class HandOff(_Section):
    whip: str = Field(
        "",
        pattern=r"^$|^https?://[^\s]+$",
        description="A media server's address to publish at (WHIP), {kit} for the kit: every camera is sent there too.",
    )
    whep: str = Field(
        "",
        pattern=r"^$|^https?://[^\s]+$",
        description="Its address to play at (WHEP): viewers beyond `viewers` are sent there.",
    )
    token: SecretStr = Field(SecretStr(""), description="Its bearer token for publishing.")


class Video(_Section):
    media: Path | None = Field(
        None, description="Folder that `video_path` names files of; empty is in the data folder."
    )
    ice_servers: tuple[IceServer, ...] = Field(
        (), description="STUN and TURN servers of the relay itself: tables of url, username, password. None by default."
    )
    gather_ms: int = Field(200, ge=0, le=5000, description="Longest wait for them before an offer is answered.")
    viewers: int = Field(500, ge=1, description="Viewers at once.")
    cameras: int = Field(200, ge=1, description="Kits that send video at once.")
    hand_off: HandOff = HandOff()
    forward: Literal["packets", "frames"] = Field(
        "packets", description="Forward the kit's own packets, or whole frames through aiortc: slower, nothing private."
    )


class Limits(_Section):
    message_bytes: int = Field(1_048_576, ge=1024, description="Largest message a socket may send.")
    pending_samples: int = Field(
        2_000_000,
        ge=10_000,
        description="Samples taken but not yet committed; beyond it, senders are made to wait.",
    )
    ring_frames: int = Field(4096, ge=8, description="Messages a slow viewer may be behind before it misses some.")
    ring_s: float = Field(10.0, gt=0, le=120, description="Seconds it may be behind before it misses some.")
    backlog_s: float = Field(30.0, ge=0, le=300, description="How much of the past a late viewer gets first.")
    viewers: int = Field(5_000, ge=1, description="Sockets one relay holds; further ones are told to try again later.")
    live_sessions: int = Field(2_000, ge=1, description="Sessions held in memory at once.")
    requests_per_s: float = Field(
        100.0, gt=0, description="Requests an address may make a second, where tokens are asked for; this machine any."
    )
    requests_burst: float = Field(1_000.0, ge=1, description="So many at once before that counts.")
    connections_per_address: int = Field(1_000, ge=1, description="HTTP connections and sockets of one address.")
    kit_connections: int = Field(4, ge=1, description="Connections of one kit to the broker inside.")
    kits_per_address: int = Field(2_000, ge=1, description="Connections of one address to the broker inside.")
    kit_bytes_per_s: int = Field(
        4_194_304, ge=65_536, description="Faster kits are read at this pace; nothing is lost."
    )
    origins: tuple[str, ...] = Field(
        (), description='Origins of pages from elsewhere that may open sockets, as a JSON list; ["*"] is any.'
    )
