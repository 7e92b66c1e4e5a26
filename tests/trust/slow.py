"""A listener of the tests' own, as the relay runs them, whose places and metrics can be counted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ParamSpec

import uvicorn
import uvloop
from starlette.types import ASGIApp

from relay.entrance.doorstep import doorstep
from relay.entrance.listening import Server
from relay.entrance.porter import Places, bind
from relay.process.metrics import Metrics
from relay.wire import Connection

P = ParamSpec("P")


def on_the_relays_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that runs on uvloop, as the relay does."""

    @functools.wraps(test)
    def run(*args: P.args, **named: P.kwargs) -> None:
        with asyncio.Runner(debug=True, loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test(*args, **named))

    return run


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, places: Places, metrics: Metrics | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Its port."""
    metrics = metrics or Metrics()
    given: dict[str, Any] = {"ssl_certfile": "-", "ssl_context_factory": lambda *_: tls} if tls else {}
    config = uvicorn.Config(app, http=doorstep(metrics), ws=Connection, lifespan="off", log_config=None, **given)
    server = Server(config, places, metrics)
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    running = asyncio.create_task(server.serve(sockets=[bound]))
    await server.up.wait()
    try:
        yield port
    finally:
        server.should_exit = True
        await running
