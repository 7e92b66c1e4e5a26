"""The relay put together: the one place where its parts are made and given to each other."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from relay.access import Access
from relay.accounts.passwords import Passwords
from relay.accounts.routes import bearer
from relay.accounts.service import Accounts, Lifetimes
from relay.accounts.store import AccountStore
from relay.auth import Tokens, load_secret
from relay.broker import EmbeddedBroker, Gate
from relay.bus import Bus, MqttBus, parse_address
from relay.clock import SteadyClock, SystemClock, boot_id
from relay.cluster.link import is_cluster
from relay.cluster.main import Cluster
from relay.db.engine import answers, database_url, migrate, open_engine
from relay.envelopes import Limiter, Reception
from relay.errors import PortBusy, Unauthorized
from relay.health import health
from relay.kits import Switchboard
from relay.metrics import Metrics
from relay.physio.frames.store import FrameStore
from relay.physio.links import Links
from relay.physio.routes import application as physio_application
from relay.physio.routes import is_stream
from relay.physio.sealing import Seal
from relay.physio.service import PhysioService
from relay.physio.store import PhysioStore
from relay.physio.video.gateway import VideoFolder
from relay.physio.video.service import Videos
from relay.physio.video.store import UploadStore
from relay.ports import Port, base_url
from relay.scg import gateway as scg_gateway
from relay.scg.routes import application
from relay.scg.service import Bounds, ScgService
from relay.scg.store import Store
from relay.settings import RelaySettings, is_loopback
from relay.supervisor import supervise
from relay.timers.routes import application as timers_application
from relay.timers.service import Bounds as TimerBounds
from relay.timers.service import TimersService
from relay.timers.store import Store as TimerStore
from relay.tls import own_certificate
from relay.viewer.routes import pages
from relay.wire import Connection

STOP_WITHIN_S = 5.0

log = structlog.get_logger(__name__)


def program_version() -> str:
    try:
        return version("homeside")
    except PackageNotFoundError:
        return "0+unknown"


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: a relay runs several and ends them together."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@dataclass(frozen=True, slots=True)
class Parts:
    """What a running relay is made of, for those who start one."""

    store: Store
    service: ScgService
    tokens: Tokens
    metrics: Metrics


class Relay:
    """A relay from its settings. `run` serves until `stop` is called or a signal comes, then stores and ends."""

    def __init__(self, settings: RelaySettings) -> None:
        self.settings = settings
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self.addresses: dict[str, str] = {}

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        settings = self.settings
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        clock, metrics = SystemClock(), Metrics()
        secret = load_secret(settings.data / "secret")
        tokens = Tokens(secret)
        url = database_url(settings.database_url, settings.data)
        engine = open_engine(url, connections=settings.database_connections)
        await migrate(engine)
        store = Store(
            engine,
            metrics,
            max_samples=settings.limits.pending_samples,
            commit_every_s=settings.commit_every_ms / 1000,
        )
        bounds = Bounds(
            live_sessions=settings.limits.live_sessions,
            sockets=settings.limits.viewers,
            ring_frames=settings.limits.ring_frames,
            ring_ms=settings.limits.ring_s * 1000,
            backlog_ms=settings.limits.backlog_s * 1000,
        )
        cluster = Cluster(settings, engine, store, metrics) if is_cluster(settings.mqtt.url) else None
        service = ScgService(store, clock, metrics, bounds, cluster.feed if cluster else None)
        access = Access(tokens, clock.now_ms, settings.link_hours)
        sockets = self._bind()
        broker, bus = (None, cluster.bus) if cluster else self._broker(tokens, clock, metrics)
        if broker is not None:
            await broker.start()
        kits = Switchboard(bus, metrics)
        heart = scg_gateway.KitGateway(service, store)
        kits.answer(scg_gateway.TYPES, heart.take)
        kits.listen_presence(heart.presence)
        timer_store, timers = await (cluster.timers() if cluster else self._timers(engine, metrics))
        timers_app = timers_application(timers, access, metrics)
        passwords = Passwords()
        physio = self._physio(engine, clock, passwords, secret)
        servers = self._servers(sockets, service, store, access, engine, bus, metrics, timers_app, physio)
        duties: dict[str, Callable[[], Awaitable[None]]] = {
            "store": store.run,
            "bus": lambda: bus.run(kits.receive),
            "analysis": service.analyse_for_ever,
            "compaction": store.compact_for_ever,
            "timer_store": timer_store.run,
            "timers": timers.forget_for_ever,
        }
        if cluster is not None:
            duties |= cluster.duties(service)
        await self._serve(servers, duties, [store.drained, timer_store.drained])
        if cluster is not None:
            await cluster.leave()
        if broker is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(broker.stop(), STOP_WITHIN_S)
        passwords.close()
        await engine.dispose()
        log.info("relay_stopped")

    async def _timers(self, engine: AsyncEngine, metrics: Metrics) -> tuple[TimerStore, TimersService]:
        """The timers as they were, upon the timescale they ran by."""
        settings, boot = self.settings.timers, boot_id()
        store = TimerStore(engine, metrics, rest_s=settings.write_behind_ms / 1000)
        steady = SteadyClock(await store.anchor(boot))
        await store.keep_anchor(boot, steady.anchor_ns)
        bounds = TimerBounds(
            sessions=settings.sessions,
            sockets=settings.sockets,
            switches_per_s=settings.switches_per_s,
            write_through=settings.write_through,
        )
        service = TimersService(store, steady, metrics, bounds)
        await service.load()
        return store, service

    async def _serve(
        self,
        servers: list[tuple[Server, socket.socket]],
        duties: dict[str, Callable[[], Awaitable[None]]],
        drained: list[Callable[[], Awaitable[None]]],
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, self.stop)
        working = [asyncio.create_task(supervise(name, duty), name=name) for name, duty in duties.items()]
        serving = [asyncio.create_task(server.serve(sockets=[bound])) for server, bound in servers]
        await asyncio.gather(*(server.up.wait() for server, _ in servers))
        log.info("relay_ready", **self.addresses)
        self.ready.set()
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stop, *serving], return_when=asyncio.FIRST_COMPLETED)
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*serving, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(drain() for drain in drained)), STOP_WITHIN_S)
        for task in [stop, *working]:
            task.cancel()
        await asyncio.gather(stop, *working, return_exceptions=True)

    def _bind(self) -> dict[str, socket.socket]:
        settings = self.settings
        wanted = {"scg": (settings.host, settings.ports.scg), "care": (settings.host, settings.ports.care)}
        if settings.tls.enabled:
            wanted["tls"] = (settings.tls.host, settings.tls.port)
        return {name: _listen(host, port) for name, (host, port) in wanted.items()}

    def _broker(self, tokens: Tokens, clock: SystemClock, metrics: Metrics) -> tuple[EmbeddedBroker | None, Bus]:
        settings = self.settings.mqtt
        if settings.url:
            return None, MqttBus(parse_address(settings.url), metrics)
        gate = Gate(tokens=tokens, clock=clock, open=is_loopback(settings.host))
        certificate = self._certificate() if settings.tls else None
        broker = EmbeddedBroker(settings.host, settings.port, gate, certificate)
        scheme = "mqtts" if settings.tls else "mqtt"
        self.addresses["mqtt"] = f"{scheme}://{broker.address.host}:{broker.address.port}"
        return broker, MqttBus(broker.address, metrics)

    def _servers(
        self,
        sockets: dict[str, socket.socket],
        service: ScgService,
        store: Store,
        access: Access,
        engine: AsyncEngine,
        bus: Bus,
        metrics: Metrics,
        timers: FastAPI,
        physio: Reception,
    ) -> list[tuple[Server, socket.socket]]:
        settings = self.settings

        async def database() -> bool:
            return await answers(engine) and not store.full

        async def kits() -> bool:
            return bus.connected.is_set()

        scg = application(service, store, access, settings.public_url)
        operations = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        operations.include_router(health({"database": database, "bus": kits}, metrics, program_version()))
        viewer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        viewer.include_router(pages())
        guarded = not is_loopback(settings.host) and "scg" not in settings.open_apis
        prefixed: dict[str, ASGIApp] = {"/scg": scg, "/physio": physio, "/timers": timers}
        found = [
            self._server("scg", sockets["scg"], Port([scg, viewer, operations], prefixed, guarded=guarded)),
            self._server(
                "care", sockets["care"], Port([timers, physio], prefixed, guarded=guarded, bases={"/api": physio})
            ),
        ]
        log.info("api_access", api="scg", host=settings.host, token_needed=guarded)
        if settings.tls.enabled:
            public = Port([viewer], prefixed, guarded="scg" not in settings.open_apis)
            found.append(self._server("tls", sockets["tls"], public, self._certificate()))
        return found

    def _physio(self, engine: AsyncEngine, clock: SystemClock, passwords: Passwords, secret: bytes) -> Reception:
        chosen, data = self.settings.physio, self.settings.data
        tokens = Tokens(chosen.jwt_secret.encode() or secret)
        lifetimes = Lifetimes(chosen.access_hours * 3600, chosen.refresh_days * 86_400)
        accounts = Accounts(AccountStore(engine), passwords, tokens, lifetimes, clock.now_ms)
        folder = VideoFolder(data / "videos", chosen.video_bytes)
        hold = timedelta(hours=chosen.link_hours)
        required = chosen.consent_required
        videos = Videos(UploadStore(engine), folder, Links(secret), clock.now_ms, hold, consent_required=required)
        seal = Seal(chosen.encryption_key.encode() or load_secret(data / "encryption.key"))
        service = PhysioService(
            PhysioStore(engine),
            FrameStore(engine),
            videos,
            seal,
            clock.now_ms,
            consent_required=required,
        )
        window_s = max(1, chosen.window_ms // 1000)
        attempts = Limiter(chosen.failed_sign_ins, window_s)
        app = physio_application(service, accounts, videos, self._links_begin, attempts, chosen.cors_origins)

        def sender(connection: HTTPConnection) -> str:
            try:
                return tokens.read(bearer(connection), now_s=clock.now_ms() / 1000).subject
            except Unauthorized:
                return connection.client.host if connection.client else ""

        limiter, streaming = Limiter(chosen.requests, window_s), Limiter(chosen.stream_requests, window_s)
        return Reception(app, sender=sender, streams=is_stream, limiter=limiter, streaming=streaming)

    def _links_begin(self, connection: HTTPConnection) -> str:
        """Where the physiotherapy API stands for whoever asks; a public base has it under its prefix."""
        base = base_url(connection, self.settings.public_url)
        prefix = str(connection.scope.get("root_path", ""))
        return f"{base}{prefix or '/physio'}" if self.settings.public_url else f"{base}{prefix}"

    def _certificate(self) -> tuple[Path, Path]:
        tls = self.settings.tls
        if tls.certificate is not None and tls.key is not None:
            return tls.certificate, tls.key
        return own_certificate(self.settings.data / "tls", datetime.now(UTC))

    def _server(
        self, name: str, bound: socket.socket, app: Port, certificate: tuple[Path, Path] | None = None
    ) -> tuple[Server, socket.socket]:
        host, port = bound.getsockname()[:2]
        self.addresses[name] = f"{'https' if certificate else 'http'}://{host}:{port}"
        config = uvicorn.Config(
            app,
            ws=Connection,
            ws_max_size=self.settings.limits.message_bytes,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            ssl_certfile=certificate[0] if certificate else None,
            ssl_keyfile=certificate[1] if certificate else None,
        )
        return Server(config), bound


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(2048)
    except OSError as error:
        bound.close()
        raise PortBusy(
            f"port {port} on {host} cannot be had: {error.strerror}. "
            "End the program that has it, or choose another port (--port, or [ports] in the configuration)."
        ) from None
    bound.setblocking(False)
    return bound
