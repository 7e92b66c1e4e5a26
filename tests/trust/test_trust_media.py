"""What docs/security.md answers about WebRTC: how media is sealed; what is forged on the way goes no further."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiortc import RTCPeerConnection

from agent.video import publisher
from tests.cameras import KitCamera
from tests.programs import RelayProgram
from tests.watching import Watcher, an_offer

SEALED = re.compile(r"ECDHE-ECDSA-(AES(128|256)-GCM-SHA\d+|CHACHA20-POLY1305)")
PROFILES = {b"SRTP_AEAD_AES_256_GCM", b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"}
MEDIA = 0x80


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    program = RelayProgram(tmp_path_factory.mktemp("media"))
    yield program
    assert program.stop() == 0


class Line:
    """The publisher's way to the relay: keeps what goes over it, and sends what nobody sealed."""

    def __init__(self, peer: RTCPeerConnection) -> None:
        self._ice: Any = peer.getSenders()[0].transport.transport._connection
        self.sent: list[bytes] = []
        self._send = self._ice.send
        self._ice.send = self._keep

    async def _keep(self, data: bytes) -> None:
        if data[0] & 0xC0 == MEDIA:
            self.sent.append(data)
        await self._send(data)

    async def forge(self, data: bytes) -> None:
        await self._send(data)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> list[RTCPeerConnection]:
    """Every connection that a kit's publisher makes."""
    made: list[RTCPeerConnection] = []

    class Peer(RTCPeerConnection):
        def __init__(self, *how: Any, **more: Any) -> None:
            super().__init__(*how, **more)
            made.append(self)

    monkeypatch.setattr(publisher, "RTCPeerConnection", Peer)
    return made


async def test_media_is_sealed_by_what_is_approved(relay: RelayProgram) -> None:
    async with Watcher(relay.http) as seen:
        await seen.frames(1)
        transport: Any = seen.peer.getTransceivers()[0].receiver.transport
        assert transport._ssl.get_protocol_version_name() == "DTLSv1.2"
        assert SEALED.fullmatch(transport._ssl.get_cipher_name())
        assert transport._ssl.get_selected_srtp_profile() in PROFILES


async def test_the_medias_key_is_made_at_every_start(relay: RelayProgram, tmp_path: Path) -> None:
    other = RelayProgram(tmp_path)
    said = []
    async with httpx.AsyncClient(timeout=30) as client:
        for base in (relay.http, other.http):
            answer = await client.post(f"{base}/api/offer", json={"sdp": await an_offer(), "type": "offer"})
            said.append(set(re.findall(r"a=fingerprint:sha-256 (\S+)", answer.json()["sdp"])))
    assert other.stop() == 0
    assert all(said)
    assert not said[0] & said[1]
    assert not [path for path in tmp_path.rglob("*") if "dtls" in path.name or "webrtc" in path.name]


async def test_media_that_is_forged_or_damaged_goes_no_further(
    relay: RelayProgram, peers: list[RTCPeerConnection]
) -> None:
    """Datagrams on the very line of a camera, but not sealed by its key: changed, cut, repeated, and made up."""
    chance = random.Random(11)
    async with KitCamera(f"{relay.http}/video/api/whip/bed-forged") as camera:
        await camera.connected()
        line = Line(peers[0])
        async with Watcher(f"{relay.http}/video", kit="bed-forged") as seen:
            await seen.frames(30)
            for real in list(line.sent)[-200:]:
                at = chance.randrange(12, len(real))
                await line.forge(real[:at] + bytes([real[at] ^ 0x5A]) + real[at + 1 :])
                await line.forge(real[: chance.randrange(1, len(real))])
                await line.forge(real)
                ahead = (int.from_bytes(real[2:4], "big") + chance.randrange(1, 2000)) % 65_536
                await line.forge(real[:2] + ahead.to_bytes(2, "big") + chance.randbytes(len(real) - 4))
                await line.forge(bytes([MEDIA]) + chance.randbytes(chance.randrange(0, 1200)))
            before = len(seen.counters)
            await seen.frames(60)
            steps = [(b - a) % 60 for a, b in zip(seen.counters[before:], seen.counters[before + 1 :], strict=False)]
            assert steps.count(1) >= len(steps) * 0.8, seen.counters[before:]
            assert len(peers) == 1, "the camera never had to come back"
    assert relay.faults() == []
