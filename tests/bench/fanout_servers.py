"""Servers that send one message to everybody, each the shortest honest way its library allows.

`python -m tests.bench.fanout_servers KIND PORT`: serves on the loopback, pinned to the first core, and reads commands
on standard input: `count`, `idle`, `publish RATE SECONDS`, `stop`; answers each with a line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

SIZE = 1000
FIRST_CORE = 0
"""Where servers run; whoever started this one may itself be held to another core."""
Publish = Callable[[bytes], None]
Count = Callable[[], int]


def payload(now_ns: int) -> bytes:
    """1 kB of JSON text that begins with the moment it was made."""
    head = b'{"at":%019d,"fill":"' % now_ns
    return head + b"x" * (SIZE - len(head) - 2) + b'"}'


def rss_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def homeside(port: int) -> tuple[Publish, Count]:
    from relay.rooms import WATCHERS, Audience, Member, Room
    from relay.wire import Connection, connection_of

    room = Room(lambda: time.monotonic() * 1000, size=64)

    class Seat:
        def __init__(self, member: Member) -> None:
            self.member = member

        def received(self, data: str | bytes) -> None: ...

        def full(self) -> None:
            room.fall_behind(self.member)

        def closing(self) -> None:
            room.leave(self.member)

        def writable(self) -> None:
            room.catch_up(self.member)

        def lost(self) -> None:
            room.leave(self.member)

    app = FastAPI()

    @app.websocket("/")
    async def enter(socket: WebSocket) -> None:
        await socket.accept()
        connection = connection_of(socket.scope)
        member = Member(connection, Audience.VIEWER)
        room.join(member)
        connection.attach(Seat(member))

    await _uvicorn(app, port, ws=Connection)
    return lambda data: room.publish(data, WATCHERS), lambda: len(room.members)


async def fastapi(port: int) -> tuple[Publish, Count]:
    app = FastAPI()
    queues: set[asyncio.Queue[str]] = set()

    @app.websocket("/")
    async def enter(socket: WebSocket) -> None:
        await socket.accept()
        queue: asyncio.Queue[str] = asyncio.Queue(64)
        queues.add(queue)
        try:
            while True:
                await socket.send_text(await queue.get())
        except (WebSocketDisconnect, RuntimeError):
            queues.discard(queue)

    def publish(data: bytes) -> None:
        text = data.decode()
        for queue in queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(text)

    await _uvicorn(app, port, ws="websockets-sansio")
    return publish, lambda: len(queues)


async def websockets(port: int) -> tuple[Publish, Count]:
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    here: set[ServerConnection] = set()

    async def enter(connection: ServerConnection) -> None:
        here.add(connection)
        try:
            await connection.wait_closed()
        finally:
            here.discard(connection)

    await serve(enter, "127.0.0.1", port, compression=None, ping_interval=None)
    return lambda data: broadcast(here, data.decode()), lambda: len(here)


async def picows(port: int) -> tuple[Publish, Count]:
    from picows import WSListener, WSMsgType, WSTransport, ws_create_server

    here: set[WSTransport] = set()

    class Viewer(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            here.add(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            here.discard(transport)

    await ws_create_server(lambda _request: Viewer(), "127.0.0.1", port)

    def publish(data: bytes) -> None:
        for transport in here:
            transport.send(WSMsgType.TEXT, data)

    return publish, lambda: len(here)


async def _uvicorn(app: Any, port: int, ws: Any) -> None:
    config = uvicorn.Config(
        app, port=port, ws=ws, ws_per_message_deflate=False, ws_ping_interval=None, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    _kept.append(serving)
    while not server.started:
        await asyncio.sleep(0.01)


_kept: list[Any] = []
KINDS: dict[str, Callable[[int], Awaitable[tuple[Publish, Count]]]] = {
    "homeside": homeside,
    "fastapi": fastapi,
    "websockets": websockets,
    "picows": picows,
}


async def _publish(publish: Publish, rate: float, seconds: float) -> dict[str, float]:
    cpu, began, loop = time.process_time(), time.perf_counter(), asyncio.get_running_loop()
    start, sent, total = loop.time(), 0, round(rate * seconds)
    while sent < total:
        await asyncio.sleep(max(0.0, start + sent / rate - loop.time()))
        publish(payload(time.monotonic_ns()))
        sent += 1
    return {"sent": sent, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - began}


async def _serve(kind: str, port: int) -> None:
    publish, count = await KINDS[kind](port)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"ready": kind}), flush=True)
    while words := (await reader.readline()).decode().split():
        answer: dict[str, Any] = {"viewers": count(), "rss_kb": rss_kb(), "cpu_s": time.process_time()}
        if words[0] == "publish":
            answer = await _publish(publish, float(words[1]), float(words[2]))
        elif words[0] == "idle":
            gc.collect()
            answer["rss_kb"] = rss_kb()
        elif words[0] == "stop":
            return
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, {FIRST_CORE})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1], int(sys.argv[2])))
    os._exit(0)
