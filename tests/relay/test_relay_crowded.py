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
"""limits.viewers, unless said otherwise; those who answer no ping are let go after a while, and others come."""
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


@pytest.mark.soak
@pytest.mark.usefixtures("many")
async def test_ten_thousand_sockets_are_seated_or_refused_and_samples_go_on(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    try:
        made = httpx.post(f"{relay.http}/api/v1/sessions").json()
        async with Socket(f"{made['websocketUrl']}?role=patient") as patient:
            path = made["websocketUrl"].partition(f":{relay.port}")[2] + "?role=viewer"
            turn = asyncio.Semaphore(200)
            found = await asyncio.gather(*(_open(relay.port, path, turn) for _ in range(SOCKETS)))
            assert Counter(said for said, _ in found)["full"]
            shown = httpx.get(f"{relay.http}/metrics").text
            seated = float(next(line.split()[1] for line in shown.splitlines() if line.startswith("homeside_sockets ")))
            assert seated <= SEATED
            await patient.batch(sine([EPOCH + 10 * n for n in range(1_000)]))
            samples = f"{relay.http}/api/v1/sessions/{made['sessionId']}/data"
            async with asyncio.timeout(60), httpx.AsyncClient() as client:
                while len((await client.get(samples)).json()["samples"]) != 1_000:
                    await asyncio.sleep(0.2)
            async with asyncio.timeout(60):  # the refused do not answer the close, and are let go without
                while len(list(Path(f"/proc/{relay.child.pid}/fd").iterdir())) > SEATED + 200:
                    await asyncio.sleep(0.2)
            for _, writer in found:
                writer.transport.abort()
        assert not relay.faults()
    finally:
        relay.stop()


async def _open(port: int, path: str, turn: asyncio.Semaphore) -> tuple[str, asyncio.StreamWriter]:
    async with turn:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK.format(path=path).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        first = await reader.readexactly(2)
    return ("full" if first[0] == 0x88 else "open"), writer
