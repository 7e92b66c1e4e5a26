"""Clients that begin and do not go on, and more of them than there is room for: let go, counted, and told so."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay.auth import Tokens
from relay.bus.broker import EmbeddedBroker
from relay.bus.gate import Gate
from relay.clock import SystemClock
from relay.entrance.porter import Places, Room
from relay.entrance.tls import own_certificate, server_context
from relay.identity.authority import own_authority
from relay.process.metrics import Metrics
from tests.trust.slow import on_the_relays_loop, serving
from tests.waiting import PATIENCE_S, comes

MUCH = 16 * 1024 * 1024
"""More than the kernel holds of an answer that nobody reads."""


async def _taken(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


async def _much(_: Request) -> Response:
    return Response(bytes(MUCH))


app = Starlette(routes=[Route("/", _taken, methods=["GET", "POST"]), Route("/much", _much)])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.entrance.doorstep.ASK_WITHIN_S", 1.0)
    monkeypatch.setattr("relay.entrance.doorstep.LOOK_EVERY_S", 0.3)
    monkeypatch.setattr("relay.entrance.porter.HANDSHAKE_WITHIN_S", 1.0)


async def _answered(url: str, trusting: ssl.SSLContext | None = None) -> httpx.Response:
    """To somebody honest, who tries again where a busy machine made him slow."""
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(verify=trusting or True) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                return await client.post(url, content=bytes(300_000))


@pytest.mark.usefixtures("impatient")
@on_the_relays_loop
async def test_who_does_not_go_on_is_let_go_and_counted_and_others_are_answered() -> None:
    """Silence, half a head, half an upgrade, half a body, half a chunk, and an answer that is not read."""
    begun = [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n{",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    places, metrics = Places(1_000), Metrics()
    async with serving(app, places, metrics) as port:
        idlers = [(await asyncio.open_connection("127.0.0.1", port), said) for said in begun for _ in range(10)]
        for (_, writer), said in idlers:
            writer.write(said)
        assert (await _answered(f"http://127.0.0.1:{port}/")).json() == {"bytes": 300_000}
        await comes(lambda: len(places) == 0)
        for (_, writer), _ in idlers:
            writer.transport.abort()
    for over, least in {"head": 30, "body": 20, "answer": 10}.items():
        assert metrics.connections_ended.labels(over)._value.get() >= least


@on_the_relays_loop
async def test_who_sends_on_steadily_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.entrance.doorstep.LOOK_EVERY_S", 0.1)
    monkeypatch.setattr("relay.entrance.doorstep.BODY_BYTES", 1)
    async with serving(app, Places(10)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(0.05)
            writer.write(b"x")
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
    assert answer.endswith(b'{"bytes":20}')


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, now = tmp_path_factory.mktemp("tls"), datetime.now(UTC)
    return own_certificate(folder / "tls", own_authority(folder / "authority", now), [], now)


@pytest.mark.usefixtures("impatient")
@on_the_relays_loop
async def test_handshakes_that_stall_take_places_and_end(certificate: tuple[Path, Path]) -> None:
    places, metrics = Places(1_000), Metrics()
    async with serving(app, places, metrics, server_context(*certificate)) as port:
        idlers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in idlers[:10]:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
        await comes(lambda: metrics.connections_ended.labels("handshake")._value.get() >= 20)
        trusting = ssl.create_default_context(cafile=str(certificate[0]))
        assert (await _answered(f"https://127.0.0.1:{port}/", trusting)).status_code == 200
        await comes(lambda: len(places) == 0)
        for _, writer in idlers:
            writer.transport.abort()


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@on_the_relays_loop
async def test_beyond_its_room_a_relay_says_so_and_takes_others_when_there_is_room(
    certificate: tuple[Path, Path], secure: bool
) -> None:
    room, metrics = Room(5), Metrics()
    tls = server_context(*certificate) if secure else None
    trusting = ssl.create_default_context(cafile=str(certificate[0])) if secure else None
    async with serving(app, Places(1_000, room), metrics, tls) as port:
        idlers = [await asyncio.open_connection("127.0.0.1", port, ssl=trusting) for _ in range(5)]
        url = f"http{'s' if secure else ''}://127.0.0.1:{port}/"
        async with httpx.AsyncClient(verify=trusting or True) as client:
            refused = await client.get(url)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert "Try again later" in refused.json()["detail"]
        for _, writer in idlers:
            writer.transport.abort()
        await comes(lambda: room.taken == 0)
        assert (await _answered(url, trusting)).status_code == 200
    assert metrics.connections_refused.labels("relay_full")._value.get() == 1


@on_the_relays_loop
async def test_a_broker_lets_go_who_never_says_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.bus.broker.CONNECT_WITHIN_S", 0.3)
    room, gate = Room(10), Gate(Tokens(bytes(32)), SystemClock())
    broker = EmbeddedBroker("127.0.0.1", 0, gate, room=room)
    await broker.start()
    try:
        port = broker.address.port
        idlers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        for _, writer in idlers[:5]:
            writer.write(b"\x10\xff\x7f\x00\x04MQTT")
        async with asyncio.timeout(PATIENCE_S):
            for reader, writer in idlers:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
            while room.taken:
                await asyncio.sleep(0.02)
        monkeypatch.undo()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00")
        assert await asyncio.wait_for(reader.readexactly(4), PATIENCE_S) == b"\x20\x02\x00\x00"
        writer.transport.abort()
    finally:
        await broker.stop()
