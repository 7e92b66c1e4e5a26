"""The names inside uvicorn that relay.wire relies on, and what it makes of them: never-readers harm nobody."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import time
from importlib.metadata import version

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import connect

from relay.rooms import WATCHERS, Audience, Member, Room
from relay.wire import Connection, Listener, connection_of, text_frame
from tests.waiting import comes


class Hall:
    """A one-room server on uvicorn: everybody who connects joins, whatever they send is kept."""

    def __init__(self, ring: int = 64) -> None:
        self.dropped = 0
        self.room = Room(lambda: time.monotonic() * 1000, size=ring, on_drop=self._on_drop)
        self.said: list[str | bytes] = []

    def _on_drop(self, count: int) -> None:
        self.dropped += count

    async def __call__(self, scope, receive, send) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        connection = connection_of(scope)
        member = Member(connection, Audience.VIEWER)
        self.room.join(member)
        connection.attach(_Seat(self, member))


class _Seat:
    def __init__(self, hall: Hall, member: Member) -> None:
        self.hall, self.member = hall, member

    def received(self, data: str | bytes) -> None:
        self.hall.said.append(data)

    def full(self) -> None:
        self.hall.room.fall_behind(self.member)

    def closing(self) -> None:
        self.hall.room.leave(self.member)

    def writable(self) -> None:
        self.hall.room.catch_up(self.member)

    def lost(self) -> None:
        self.hall.room.leave(self.member)


class Served:
    def __init__(self, hall: Hall) -> None:
        config = uvicorn.Config(
            hall, port=0, ws=Connection, ws_per_message_deflate=False, lifespan="off", log_config=None
        )
        self.server = uvicorn.Server(config)

    async def __aenter__(self) -> int:
        self.task = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.01)
        return self.server.servers[0].sockets[0].getsockname()[1]

    async def __aexit__(self, *_: object) -> None:
        self.server.should_exit = True
        await self.task


def test_uvicorn_is_the_version_these_names_were_read_in() -> None:
    assert version("uvicorn") == "0.54.0"


@pytest.mark.parametrize(
    "name",
    [
        "run_asgi",
        "send_receive_event_to_app",
        "pause_writing",
        "resume_writing",
        "connection_made",
        "connection_lost",
        "shutdown",
        "keepalive_timeout",
        "on_task_complete",
        "handle_close",
        "handle_parser_exception",
        "send_500_response",
        "receive",
        "send",
    ],
)
def test_overridden_methods_exist(name: str) -> None:
    assert callable(getattr(WebSocketsSansIOProtocol, name))


def test_instances_carry_the_names_used() -> None:
    config = uvicorn.Config(Hall(), log_config=None, lifespan="off")
    config.load()
    loop = asyncio.new_event_loop()
    protocol = Connection(config, uvicorn.server.ServerState(), {}, loop)
    for name in (
        "conn",
        "close_sent",
        "disconnected",
        "queue",
        "frames",
        "read_paused",
        "handshake_complete",
        "close_timer",
        "transport",
        "app",
        "loop",
    ):
        assert hasattr(protocol, name)
    loop.close()


def test_a_frame_is_what_rfc_6455_says() -> None:
    assert text_frame(b"hi") == b"\x81\x02hi"
    assert text_frame(b"x" * 200)[:4] == b"\x81\x7e\x00\xc8"


async def test_a_broadcast_reaches_everybody_in_order_and_messages_come_in() -> None:
    hall = Hall()
    async with Served(hall) as port:
        async with connect(f"ws://127.0.0.1:{port}/") as one, connect(f"ws://127.0.0.1:{port}/") as two:
            await comes(lambda: len(hall.room.members) == 2)
            for number in range(300):
                hall.room.publish(b'{"n":%d}' % number, WATCHERS)
            for client in (one, two):
                assert [await client.recv() for _ in range(300)] == [f'{{"n":{n}}}' for n in range(300)]
            await one.send("hello")
            await two.send(["fragments", "of", "one", "message"])
            await comes(lambda: len(hall.said) == 2)
            assert sorted(bytes(s) for s in hall.said) == [b"fragmentsofonemessage", b"hello"]
        await comes(lambda: not hall.room.members)
    assert hall.dropped == 0


async def test_a_never_reader_costs_bounded_memory_delays_nobody_and_cannot_hold_up_a_stop() -> None:
    hall = Hall(ring=32)
    async with Served(hall) as port:
        lazy = await asyncio.to_thread(_handshake, port)
        async with connect(f"ws://127.0.0.1:{port}/") as reader:
            await comes(lambda: len(hall.room.members) == 2)
            payload = b"x" * 4096
            for number in range(4000):
                hall.room.publish(payload, WATCHERS)
                if number % 20 == 0:
                    await asyncio.sleep(0)
                assert await reader.recv() == payload.decode()
            slow = next(m for m in hall.room.members if m.cursor is not None)
            assert slow.outlet.waiting_bytes < 300_000
            await asyncio.to_thread(_drain, lazy, 20_000_000)
            await comes(lambda: slow.dropped > 1000)
            assert hall.dropped == slow.dropped
    lazy.close()


async def test_what_the_ring_still_holds_is_replayed_without_loss() -> None:
    hall = Hall(ring=4096)
    async with Served(hall) as port:
        lazy = await asyncio.to_thread(_handshake, port)
        await comes(lambda: hall.room.members)
        for number in range(3000):
            hall.room.publish(b"%06d" % number + b"." * 2000, WATCHERS)
            if number % 50 == 0:
                await asyncio.sleep(0)
        got = await asyncio.to_thread(_drain, lazy, 3000 * (4 + 2006))
        numbers = [int(got[k + 4 : k + 10]) for k in range(0, len(got), 4 + 2006)]
        assert numbers == list(range(3000))
        lazy.close()
    assert hall.dropped == 0


def test_a_seat_is_a_listener() -> None:
    seat: Listener = _Seat(Hall(), Member(None, Audience.VIEWER))  # type: ignore[arg-type]
    assert seat is not None


def _handshake(port: int) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    raw.sendall(
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.recv(1)
    assert b" 101 " in head
    return raw


def _drain(raw: socket.socket, count: int) -> bytes:
    raw.settimeout(2)
    got = bytearray()
    try:
        while len(got) < count:
            got += raw.recv(65536)
    except TimeoutError:
        pass
    return bytes(got)
