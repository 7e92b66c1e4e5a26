"""The relay's listeners: sockets bound before anything starts, and an HTTP server on each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
import uvicorn

from relay.entrance import doorstep as stays
from relay.entrance.doorstep import Doorstep, doorstep
from relay.entrance.perimeter import Guard, Perimeter, own_names
from relay.entrance.porter import Places, Porter, Room, bind
from relay.entrance.ports import Port
from relay.entrance.tls import server_context
from relay.errors import PortBusy
from relay.process.metrics import Metrics
from relay.settings import RelaySettings
from relay.wire import Connection

GRACE_S = 2

log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """uvicorn behind a Porter, without signal handlers of its own: a relay runs several and ends them together."""

    def __init__(self, config: uvicorn.Config, places: Places, metrics: Metrics) -> None:
        super().__init__(config)
        self._places = places
        self._metrics = metrics
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        tls = self.config.ssl
        porters = [Porter(bound, self._places, self._metrics, self._door, tls=tls) for bound in sockets or ()]
        self.servers: Any = porters
        self.started = True
        self.up.set()

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn every 0.1 s; checks the connections every LOOK_EVERY_S."""
        if counter % max(1, round(stays.LOOK_EVERY_S * 10)) == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Doorstep):
                    connection.look()
        return await super().on_tick(counter)

    def _door(self, leave: Callable[[], None]) -> Doorstep:
        loop, state = asyncio.get_running_loop(), self.lifespan.state
        made: Doorstep = self.config.http_protocol_class(  # type: ignore[call-arg, assignment]
            config=self.config, server_state=self.server_state, app_state=state, _loop=loop
        )
        made.leave = leave
        return made


def configuration(
    port: Port, settings: RelaySettings, metrics: Metrics, certificate: tuple[Path, Path] | None = None
) -> uvicorn.Config:
    """uvicorn's configuration for a listener; with a certificate and its key it speaks TLS."""
    limits = settings.limits
    app = Guard(port, _perimeter(settings, guarded=port.guarded, tls=certificate is not None), metrics)
    return uvicorn.Config(
        app,
        http=doorstep(metrics),
        ws=Connection,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
        ssl_context_factory=(lambda *_: server_context(*certificate)) if certificate else None,
    )


def weigh(settings: RelaySettings, room: Room) -> None:
    """Warn at the start when the system allows fewer descriptors than the sockets that the settings promise."""
    promised = settings.limits.viewers + settings.timers.sockets + settings.signs.clients
    if promised > room.most:
        log.warning("descriptors_too_few", sockets=promised, room=room.most, remedy="raise LimitNOFILE or ulimit -n")


def _perimeter(settings: RelaySettings, *, guarded: bool, tls: bool) -> Perimeter:
    host = socket.gethostname()
    public = urlsplit(settings.public_url).hostname or ""
    return Perimeter(
        guarded=guarded,
        names=own_names([host, f"{host}.local", public, *settings.tls.names]),
        origins=frozenset(settings.limits.origins),
        per_s=settings.limits.requests_per_s,
        burst=settings.limits.requests_burst,
        hsts_s=settings.tls.hsts_days * 86_400 if tls else 0,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortBusy with the remedy."""
    try:
        return bind(host, port)
    except OSError as error:
        raise PortBusy(
            f"port {port} on {host} cannot be had: {error.strerror}. "
            "End the program that has it, or choose another port (--port, or [ports] in the configuration)."
        ) from None
