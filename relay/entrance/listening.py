"""The relay's listeners: sockets bound before anything starts, and an HTTP server on each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from relay.entrance.doorstep import Places, doorstep
from relay.entrance.perimeter import Guard, Perimeter, own_names
from relay.entrance.ports import Port
from relay.entrance.tls import server_context
from relay.errors import PortBusy
from relay.process.metrics import Metrics
from relay.settings import RelaySettings
from relay.wire import Connection

BACKLOG = 2048
GRACE_S = 2


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


def configuration(
    port: Port, settings: RelaySettings, metrics: Metrics, certificate: tuple[Path, Path] | None = None
) -> uvicorn.Config:
    """uvicorn as every listener here runs it; with a certificate and its key it speaks TLS."""
    limits = settings.limits
    app = Guard(port, _perimeter(settings, guarded=port.guarded, tls=certificate is not None), metrics)
    return uvicorn.Config(
        app,
        http=doorstep(Places(limits.connections_per_address)),
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
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise PortBusy(
            f"port {port} on {host} cannot be had: {error.strerror}. "
            "End the program that has it, or choose another port (--port, or [ports] in the configuration)."
        ) from None
    bound.setblocking(False)
    return bound
