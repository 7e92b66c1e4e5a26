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
    scg: int = Field(8000, ge=0, le=65535, description="Port of the OpenSCG API and the pages; 0 picks a free one.")
    care: int = Field(
        3000, ge=0, le=65535, description="Port of the physiotherapy and timers APIs; 0 picks a free one."
    )
    signs: int = Field(8001, ge=0, le=65535, description="Port of the sign detection WebSocket; 0 picks a free one.")
    translate: int = Field(8002, ge=0, le=65535, description="Port of the sign translation API; 0 picks a free one.")


class Timers(_Section):
    write_behind_ms: int = Field(
        40,
        ge=0,
        le=100,
        description="Wait before changed timers are committed; a kill -9 can lose this plus one commit.",
    )
    write_through: bool = Field(False, description="Answer a change to a timer only after it is committed.")
    switches_per_s: int = Field(10, ge=1, le=100_000, description="Switches allowed per second in one timer session.")
    sessions: int = Field(50_000, ge=1, description="Maximum number of timer sessions in memory.")
    sockets: int = Field(10_000, ge=1, description="Maximum number of open timer WebSockets.")


class Physio(_Section):
    jwt_secret: str = Field("", description="Signs access tokens; empty uses the secret in the data folder.")
    access_hours: float = Field(24.0, gt=0, le=24 * 30, description="Lifetime of an access token.")
    refresh_days: float = Field(30.0, gt=0, le=365, description="Lifetime of a refresh token.")
    link_hours: float = Field(1.0, gt=0, le=24 * 7, description="Lifetime of an upload or playback link.")
    requests: int = Field(
        100, ge=1, description="Requests per window from one user, or from one address not signed in."
    )
    stream_requests: int = Field(
        20_000, ge=1, description="The same limit for requests with frames or parts of a video."
    )
    window_ms: int = Field(900_000, ge=1000, description="Length of the window for these limits.")
    failed_sign_ins: int = Field(10, ge=1, description="Failed sign-ins per window for one account and address.")
    video_bytes: int = Field(2 * 1024**3, ge=1024, description="Largest video accepted.")
    consent_required: bool = Field(True, description="Refuse frames and videos of a patient who has not given consent.")
    encryption_key: str = Field(
        "", description="Encrypts the sensitive columns; empty uses a key made in the data folder. Back up the key."
    )
    cors_origins: tuple[str, ...] = Field((), description="Origins whose pages may call the API, as a JSON list.")


class Storage(_Section):
    bucket: str = Field("", description="Bucket of an S3-compatible storage for videos; empty keeps them in `data`.")
    endpoint: str = Field("", description="Address of the storage, such as https://s3.example.org; empty uses AWS.")
    region: str = Field("us-east-1", description="Region of the bucket.")
    access_key: str = Field("", description="Id of a key that may read, write, list and delete in the bucket.")
    secret_key: str = Field("", description="Secret of that access key.")
    prefix: str = Field("videos/", description="Prefix of every object's name.")


class Signs(_Section):
    gemini_key: str = Field("", description="Key of the Gemini API; empty translates with the offline speller only.")
    gemini_model: str = Field("gemini-2.5-flash", description="Gemini model that translates.")
    gemini_url: str = Field("", description="Address of the Gemini API; empty uses the service's own.")
    gemini_timeout_s: float = Field(8.0, gt=0, le=120, description="Deadline for one translation, retries included.")
    detectors: int = Field(2, ge=0, le=64, description="Frames analysed in parallel; 0 turns detection off.")
    clients: int = Field(500, ge=1, description="Maximum number of sign detection WebSockets.")
    batch_hosts: tuple[str, ...] = Field(
        (), description="Hosts that videos may be fetched from although their address is private, as a JSON list."
    )
    batch_bytes: int = Field(200 * 1024**2, ge=1024, description="Largest video fetched or uploaded.")
    batch_minutes: float = Field(10.0, gt=0, le=240, description="Longest video analysed.")
    batch_fetch_s: float = Field(120.0, gt=0, le=3600, description="Time limit for fetching a video.")
    batch_jobs: int = Field(20, ge=1, le=1000, description="Videos that may wait at once; more are refused.")


class Mqtt(_Section):
    url: str = Field(
        "",
        description="The broker: empty runs one inside the relay; mqtt://user:password@host:port uses a site's;"
        " nats://host:4222,host:4222 joins this relay to a cluster.",
    )
    host: str = Field("127.0.0.1", description="Address the embedded broker listens on.")
    port: int = Field(1883, ge=0, le=65535, description="Port of the embedded broker; 0 picks a free one.")
    tls: bool = Field(
        False, description="Embedded broker with TLS, by the certificate of [tls]; every kit must identify itself."
    )
    tokens: bool = Field(True, description="Accept kits that present a token; false demands a certificate.")


class Cluster(_Section):
    name: str = Field("", description="This relay's name in the cluster; empty makes a new one at every start.")
    replicas: int = Field(3, ge=1, le=5, description="Copies NATS keeps of kit messages that are not yet committed.")
    partitions: int = Field(
        8,
        ge=1,
        le=256,
        description="Parts into which kits are divided among relays; must equal the NATS servers' mapping.",
    )
    stream_mb: int = Field(
        8192, ge=64, description="Space for these on each NATS server; the oldest are discarded when it is full."
    )
    history_url: str = Field(
        "", description="Read replica for recordings that ended over a minute ago; empty reads from database_url."
    )


class Retention(_Section):
    remove_days: float = Field(
        0.0, ge=0, le=36_500, description="Days after its end that a recording is removed; 0 keeps all recordings."
    )
    thin_days: float = Field(
        0.0, ge=0, le=36_500, description="Days after its end that a recording is thinned to thin_hz; 0 never thins."
    )
    thin_hz: float = Field(25.0, ge=1, le=1000, description="Rate of thinned recordings, in samples a second.")
    spare_days: float = Field(
        0.0,
        ge=0,
        le=36_500,
        description="Extra days for a recording of an exercise that awaits review; 0 keeps it until reviewed.",
    )


class Tracing(_Section):
    endpoint: str = Field("", description="Collector, such as http://host:4318/v1/traces; empty turns tracing off.")
    every: int = Field(100, ge=1, description="Trace one of this many messages that carry a patient's samples.")


class Tls(_Section):
    enabled: bool = Field(False, description="Serve everything on one public port with TLS, for phones and for a ward.")
    host: str = Field("0.0.0.0", description="Address the public port listens on.")  # noqa: S104 - asked for with --tls
    port: int = Field(8443, ge=0, le=65535, description="Public port.")
    certificate: Path | None = Field(None, description="PEM certificate chain; empty uses one that the relay makes.")
    key: Path | None = Field(None, description="PEM private key of that certificate.")
    names: tuple[str, ...] = Field((), description="More names and addresses for the own certificate, as a JSON list.")
    hsts_days: int = Field(365, ge=0, le=3650, description="How long browsers must use TLS (HSTS); 0 does not say so.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: give both, or none for an own certificate")
        return self


class Identity(_Section):
    certificate_days: float = Field(90.0, gt=0, le=825, description="Lifetime of a kit's certificate.")
    grace_days: float = Field(30.0, ge=0, le=365, description="How long after expiry a certificate can be renewed.")
    claim_hours: float = Field(24.0, gt=0, le=24 * 90, description="Lifetime of a claim.")
    broker_url: str = Field(
        "", description="Broker address given to kits, such as mqtts://ward.example.org:8883; empty: the embedded one."
    )
    root: Path | None = Field(None, description="PEM root certificate of an outside authority; empty makes one.")
    issuer: Path | None = Field(None, description="PEM issuer of kits' certificates, signed by that root.")
    issuer_key: Path | None = Field(None, description="PEM private key of that issuer, on P-256.")

    broker_files: Path | None = Field(
        None, description="Folder written by `homeside kits broker-config`; the relay keeps it up to date."
    )
    broker_pid: Path | None = Field(None, description="File with that broker's process id, used to make it reload.")

    @model_validator(mode="after")
    def _all_or_none(self) -> Identity:
        given = [self.root, self.issuer, self.issuer_key]
        if any(given) and not all(given):
            raise ValueError("root, issuer and issuer_key go together: give all three, or none")
        return self


class IceServer(_Section):
    url: str = Field(
        pattern=r"^(stun|stuns|turn|turns):[^\s]+$", description="Address, such as turns:turn.example.org:443."
    )
    username: str = Field("", description="User name at a TURN server.")
    password: SecretStr = Field(SecretStr(""), description="Password at a TURN server.")


class HandOff(_Section):
    whip: str = Field(
        "",
        pattern=r"^$|^https?://[^\s]+$",
        description="Media server's publishing address (WHIP), {kit} for the kit: every camera is sent there too.",
    )
    whep: str = Field(
        "",
        pattern=r"^$|^https?://[^\s]+$",
        description="Address where that server plays them (WHEP); viewers beyond `viewers` are sent there.",
    )
    token: SecretStr = Field(SecretStr(""), description="Bearer token for publishing to that server.")


class Video(_Section):
    media: Path | None = Field(
        None, description="Folder of the files that `video_path` names; empty uses one in the data folder."
    )
    ice_servers: tuple[IceServer, ...] = Field(
        (), description="The relay's own STUN and TURN servers: tables of url, username, password. None by default."
    )
    gather_ms: int = Field(200, ge=0, le=5000, description="Longest wait for these servers before answering an offer.")
    viewers: int = Field(500, ge=1, description="Maximum number of video viewers.")
    cameras: int = Field(200, ge=1, description="Maximum number of kits that send video.")
    hand_off: HandOff = HandOff()
    forward: Literal["packets", "frames"] = Field(
        "packets", description="packets forwards the kit's packets; frames uses aiortc's public API only and is slower."
    )


class Limits(_Section):
    message_bytes: int = Field(1_048_576, ge=1024, description="Largest message a WebSocket may send.")
    pending_samples: int = Field(
        2_000_000,
        ge=10_000,
        description="Samples received but not yet committed; beyond this, senders have to wait.",
    )
    ring_frames: int = Field(4096, ge=8, description="Messages a slow viewer may fall behind before it misses some.")
    ring_s: float = Field(10.0, gt=0, le=120, description="Seconds it may fall behind before it misses some.")
    backlog_s: float = Field(30.0, ge=0, le=300, description="Seconds of the past that a late viewer gets first.")
    viewers: int = Field(5_000, ge=1, description="OpenSCG WebSockets on one relay; more are told to try again later.")
    live_sessions: int = Field(2_000, ge=1, description="Maximum number of sessions in memory.")
    requests_per_s: float = Field(
        100.0, gt=0, description="Requests a second from one address where a token is required; this machine is exempt."
    )
    requests_burst: float = Field(1_000.0, ge=1, description="Requests from one address before that rate applies.")
    connections_per_address: int = Field(1_000, ge=1, description="HTTP connections and WebSockets from one address.")
    kit_connections: int = Field(4, ge=1, description="Connections from one kit to the embedded broker.")
    kits_per_address: int = Field(2_000, ge=1, description="Connections from one address to the embedded broker.")
    kit_bytes_per_s: int = Field(
        4_194_304,
        ge=65_536,
        description="Bytes a second read from one kit; a faster kit is slowed down, nothing is lost.",
    )
    origins: tuple[str, ...] = Field(
        (), description='Origins of pages on other sites that may open WebSockets, as a JSON list; ["*"] allows any.'
    )
