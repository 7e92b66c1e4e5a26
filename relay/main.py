"""The relay put together: what every API stands on is made here, each API's own main.py adds its part."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import structlog
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from core.contracts.service import READY, STOPPING
from relay.accounts.passwords import Passwords
from relay.accounts.service import Accounts, Lifetimes
from relay.accounts.store import AccountStore
from relay.auth import Tokens, load_secret
from relay.bus.broker import DoorBounds, EmbeddedBroker
from relay.bus.gate import Gate
from relay.bus.mqtt import Address, Bus, MqttBus, parse_address
from relay.bus.switchboard import Switchboard
from relay.clock import SystemClock
from relay.cluster.main import join
from relay.db.engine import answers, database_url, migrate, open_engine, open_replica
from relay.entrance.access import Access
from relay.entrance.listening import Server, configuration, listen, weigh
from relay.entrance.porter import Places, rooms
from relay.entrance.ports import Port
from relay.errors import DetectorMissing
from relay.files import hold
from relay.fleet.main import open_fleet
from relay.ground import Check, Duty, Ground, Part, Root
from relay.identity.main import Identities, broker_tls, identities, open_identity, server_certificate
from relay.physio.main import open_physio, sign_in_tokens
from relay.process.health import health
from relay.process.metrics import Metrics
from relay.process.notify import notify, watch
from relay.process.supervisor import end, supervise
from relay.process.tracing import open_tracing
from relay.scg.main import open_scg
from relay.settings import RelaySettings, is_loopback, service_manager
from relay.signs.detection.lookout import Detector
from relay.signs.main import open_signs
from relay.timers.main import open_timers
from relay.video.main import open_video
from relay.viewer.documentation import reference_application
from relay.viewer.routes import pages

STOP_WITHIN_S = 5.0
VISION = ("ai_edge_litert", "cv2")
"""What the kit's hand detector is built on; the extra `vision` brings it."""
Listener = tuple[Server, socket.socket]

log = structlog.get_logger(__name__)


def program_version() -> str:
    try:
        return version("homeside")
    except PackageNotFoundError:
        return "0+unknown"


class Relay:
    """A relay from its settings. `run` serves until `stop` is called or a signal comes, then stores and ends."""

    def __init__(self, settings: RelaySettings) -> None:
        self.settings = settings
        self._metrics = Metrics()
        self._rooms = rooms()
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self.addresses: dict[str, str] = {}

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        settings = self.settings
        with hold(settings.data, alone=not settings.database_url):
            await self._run(settings)

    async def _run(self, settings: RelaySettings) -> None:
        clock, metrics, passwords = SystemClock(), self._metrics, Passwords()
        secret = load_secret(settings.data / "secret")
        tokens = Tokens(secret)
        url = database_url(settings.database_url, settings.data)
        engine = open_engine(url, connections=settings.database_connections)
        await migrate(engine)
        trust = await identities(settings, engine, tokens, clock.now_ms)
        weigh(settings, self._rooms.web)
        sockets = self._bind()
        tracing = open_tracing(settings.tracing.endpoint, settings.tracing.every, program_version())
        cluster = join(settings, engine, metrics)
        broker, address = (None, cluster.kits) if cluster else self._broker(tokens, clock, trust)
        if broker is not None:
            await broker.start()
        bus: Bus = cluster.bus if cluster else MqttBus(address, metrics)
        kits = Switchboard(bus, metrics)
        access = Access(tokens, clock.now_ms, settings.link_hours, trust.standing)
        accounts = self._accounts(engine, passwords, secret, clock)
        history = open_replica(settings.cluster.history_url, settings.data)
        ground = Ground(settings, engine, clock, metrics, secret, access, accounts, kits, cluster, history, tracing)
        parts = [
            open_signs(ground, hand_detector, hands_lack),
            open_scg(ground),
            await open_timers(ground),
            open_physio(ground),
            open_identity(ground, trust, address),
            open_video(ground),
            await open_fleet(ground),
        ]
        duties: dict[str, Duty] = {"bus": lambda: bus.run(kits.receive), **_duties(parts)}
        if cluster is not None:
            duties["cluster"] = cluster.run
        servers = self._servers(sockets, parts, self._operations(parts, engine, bus, metrics), trust)
        faults = await self._serve(servers, duties, [part.drained for part in parts if part.drained is not None])
        if cluster is not None:
            await cluster.leave()
        if broker is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(broker.stop(), STOP_WITHIN_S)
        await asyncio.to_thread(tracing.close)
        passwords.close()
        for database in filter(None, (history, engine)):
            await database.dispose()
        log.info("relay_stopped")
        for fault in faults:
            raise fault

    async def _serve(
        self, servers: list[Listener], duties: dict[str, Duty], drained: Iterable[Callable[[], Awaitable[None]]]
    ) -> list[BaseException]:
        """Serve until `stop`, a signal, or the end of one listener. Returns what listeners failed of."""
        loop, manager = asyncio.get_running_loop(), service_manager()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, self.stop)
        working = [asyncio.create_task(supervise(name, duty), name=name) for name, duty in duties.items()]
        serving = [asyncio.create_task(server.serve(sockets=[bound])) for server, bound in servers]
        up = asyncio.create_task(_all_up(servers))
        await asyncio.wait([up, *serving], return_when=asyncio.FIRST_COMPLETED)
        if up.done():
            log.info("relay_ready", **self.addresses)
            self.ready.set()
            notify(manager.address, READY)
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stop, *serving], return_when=asyncio.FIRST_COMPLETED)
        notify(manager.address, STOPPING)
        for server, _ in servers:
            server.should_exit = True
        ended = await asyncio.gather(*serving, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(drain() for drain in drained)), STOP_WITHIN_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end([stop, up, *working]), STOP_WITHIN_S)
        return [fault for fault in ended if fault is not None]

    def _bind(self) -> dict[str, socket.socket]:
        settings = self.settings
        ports = settings.ports
        numbers = {"scg": ports.scg, "care": ports.care, "signs": ports.signs, "translate": ports.translate}
        wanted = {name: (settings.host, number) for name, number in numbers.items()}
        if settings.tls.enabled:
            wanted["tls"] = (settings.tls.host, settings.tls.port)
        return {name: listen(host, port) for name, (host, port) in wanted.items()}

    def _broker(self, tokens: Tokens, clock: SystemClock, trust: Identities) -> tuple[EmbeddedBroker | None, Address]:
        settings = self.settings.mqtt
        if settings.url:
            return None, parse_address(settings.url)
        open_ = is_loopback(settings.host) and not settings.tls
        gate = Gate(tokens, clock, trust.standing, open=open_, takes_tokens=settings.tokens)
        limits = self.settings.limits
        bounds = DoorBounds(
            limits.kits_per_address, limits.kit_connections, limits.message_bytes, limits.kit_bytes_per_s
        )
        tls = broker_tls(self.settings, trust)
        broker = EmbeddedBroker(settings.host, settings.port, gate, tls, bounds, self._metrics, self._rooms.kits)
        scheme = "mqtts" if settings.tls else "mqtt"
        self.addresses["mqtt"] = f"{scheme}://{broker.address.host}:{broker.address.port}"
        return broker, broker.address

    def _accounts(self, engine: AsyncEngine, passwords: Passwords, secret: bytes, clock: SystemClock) -> Accounts:
        chosen = self.settings.physio
        lifetimes = Lifetimes(chosen.access_hours * 3600, chosen.refresh_days * 86_400)
        signed = sign_in_tokens(self.settings, secret)
        return Accounts(AccountStore(engine), passwords, signed, lifetimes, clock.now_ms)

    def _operations(self, parts: list[Part], engine: AsyncEngine, bus: Bus, metrics: Metrics) -> FastAPI:
        async def database() -> bool:
            return await answers(engine)

        async def kits() -> bool:
            return bus.connected.is_set()

        checks: dict[str, list[Check]] = {"database": [database], "bus": [kits]}
        for part in parts:
            for name, check in part.checks.items():
                checks.setdefault(name, []).append(check)
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(health({name: _all(of) for name, of in checks.items()}, metrics, program_version()))
        return app

    def _servers(
        self, sockets: dict[str, socket.socket], parts: list[Part], operations: FastAPI, trust: Identities
    ) -> list[Listener]:
        settings = self.settings
        viewer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        viewer.include_router(pages())
        guarded = not is_loopback(settings.host)
        opened = [part.app for part in parts if part.openable and part.name in settings.open_apis]
        prefixed = {f"/{part.name}": part.app for part in parts}
        roots = {root: [part.app for part in parts if root in (part.root, *part.also)] for root in Root}
        bases = {part.base: part.app for part in parts if part.base is not None}
        reference = reference_application()
        heart = next(part.app for part in parts if part.root is Root.SCG)
        ports = {
            "scg": Port(
                [*roots[Root.SCG], viewer, operations], prefixed, guarded=guarded, opened=opened, otherwise=heart
            ),
            "care": Port([*roots[Root.CARE], reference], prefixed, guarded=guarded, opened=opened, bases=bases),
            "signs": Port([*roots[Root.SIGNS], reference], prefixed, guarded=guarded, opened=opened),
            "translate": Port([*roots[Root.TRANSLATE], reference], prefixed, guarded=guarded, opened=opened),
        }
        for part in parts:
            if part.openable:
                needed = guarded and part.app not in opened
                log.info("api_access", api=part.name, host=settings.host, token_needed=needed)
        found = [self._server(name, sockets[name], port) for name, port in ports.items()]
        if settings.tls.enabled:
            public = Port([viewer], prefixed, guarded=True, opened=opened)
            found.append(self._server("tls", sockets["tls"], public, server_certificate(settings, trust.authority)))
        return found

    def _server(
        self, name: str, bound: socket.socket, app: Port, certificate: tuple[Path, Path] | None = None
    ) -> Listener:
        host, port = bound.getsockname()[:2]
        self.addresses[name] = f"{'https' if certificate else 'http'}://{host}:{port}"
        places = Places(self.settings.limits.connections_per_address, self._rooms.web)
        return Server(configuration(app, self.settings, self._metrics, certificate), places, self._metrics), bound


def hand_detector() -> Detector:
    """The kit's own hand detector, brought late: a relay without the extra `vision` serves everything else."""
    try:
        from agent.vision.hands import HandDetector, ModelsMissing
    except ImportError as error:
        raise DetectorMissing(f"{error.name} is not installed (pip install 'homeside[vision]')") from None
    try:
        return HandDetector(threads=1)
    except ModelsMissing as error:
        raise DetectorMissing(str(error)) from None


def hands_lack() -> str | None:
    """What the hand detector needs and is not installed; looked up without loading any of it."""
    missing = [name for name in VISION if find_spec(name) is None]
    return f"{', '.join(missing)} not installed (pip install 'homeside[vision]')" if missing else None


def _duties(parts: list[Part]) -> dict[str, Duty]:
    """What every part does all the while; and the service manager's watchdog, where it wants to be told."""
    duties = {name: duty for part in parts for name, duty in part.duties.items()}
    stored = [check for part in parts if (check := part.checks.get("database")) is not None]
    if (manager := service_manager()).within_s is not None:
        duties["watchdog"] = lambda: watch(manager, _all(stored))
    return duties


async def _all_up(servers: list[Listener]) -> None:
    for server, _ in servers:
        await server.up.wait()


def _all(checks: list[Check]) -> Check:
    async def every() -> bool:
        return all([await check() for check in checks])

    return every
