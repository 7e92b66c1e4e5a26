"""The relay's listeners: sockets bound before anything starts, and an HTTP server on each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from relay.errors import PortBusy
from relay.ports import Port
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


def configuration(app: Port, message_bytes: int, certificate: tuple[Path, Path] | None = None) -> uvicorn.Config:
    """uvicorn as every listener here runs it; with a certificate and its key it speaks TLS."""
    return uvicorn.Config(
        app,
        ws=Connection,
        ws_max_size=message_bytes,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
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
