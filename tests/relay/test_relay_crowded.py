"""Ten thousand sockets on one session: as many as the settings say, the others refused, samples stored meanwhile."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.sockets import EPOCH, Socket, sine
from tests.programs import RelayProgram

SOCKETS = 10_000
SEATED = 5_000
"""limits.viewers, unless said otherwise."""
ASK = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture
def many() -> Iterator[None]:
    """The sockets of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < SOCKETS + 2_000:
        pytest.skip(f"this system gives {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOCKETS + 2_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Idle(asyncio.Protocol):
    """A viewer's socket that does nothing but answer pings (RFC 6455 section 5.5.2)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._data = b""
        self._opened = False
        self.told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(ASK.format(path=self._path).encode())

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._opened:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._opened, self._data = True, rest
        while (frame := self._frame()) is not None:
            opcode, body = frame
            if not self.told.done():
                self.told.set_result("full" if opcode == 8 else "open")
            if opcode == 9:
                self.transport.write(bytes([0x8A, 0x80 | len(body), 0, 0, 0, 0]) + body)

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole one; a server's are not masked."""
        data = self._data
        if len(data) < 4:
            return None
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        self._data = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]


@pytest.mark.soak
@pytest.mark.usefixtures("many")
def test_ten_thousand_sockets_are_seated_or_refused_and_samples_go_on(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    try:
        asyncio.run(_crowd(relay))
        assert not relay.faults()
    finally:
        relay.stop()


async def _crowd(relay: RelayProgram) -> None:
    made = httpx.post(f"{relay.http}/api/v1/sessions").json()
    path = made["websocketUrl"].partition(f":{relay.port}")[2] + "?role=viewer"
    async with Socket(f"{made['websocketUrl']}?role=patient") as patient:
        turn = asyncio.Semaphore(200)
        idle = await asyncio.gather(*(_open(relay.port, path, turn) for _ in range(SOCKETS)))
        told = Counter([one.told.result() for one in idle])
        assert told == {"open": SEATED - 1, "full": SOCKETS - SEATED + 1}
        await patient.batch(sine([EPOCH + 10 * n for n in range(1_000)]))
        samples = f"{relay.http}/api/v1/sessions/{made['sessionId']}/data"
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while len((await client.get(samples)).json()["samples"]) != 1_000:
                await asyncio.sleep(0.2)
        async with asyncio.timeout(60):  # the refused do not answer the close, and are let go without
            while len(list(Path(f"/proc/{relay.child.pid}/fd").iterdir())) > SEATED + 200:
                await asyncio.sleep(0.2)
        for one in idle:
            one.transport.abort()


async def _open(port: int, path: str, turn: asyncio.Semaphore) -> Idle:
    async with turn:
        _, viewer = await asyncio.get_running_loop().create_connection(lambda: Idle(path), "127.0.0.1", port)
        await asyncio.wait_for(viewer.told, 120)
    return viewer
