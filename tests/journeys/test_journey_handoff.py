"""A camera handed on by WHIP to another media server: Janus, which shows it to viewers that the relay never sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from fastapi import FastAPI, Request, Response

from tests.cameras import KitCamera
from tests.janus import Desk, Janus
from tests.peers import free_port
from tests.programs import RelayProgram
from tests.waiting import comes

pytestmark = pytest.mark.timeout(180)
TOKEN = "a-token-of-the-media-server"


class Whip:
    """WHIP in front of Janus, which speaks an interface of its own: an SDP posted, its answer, a resource to delete."""

    def __init__(self, desk: Desk) -> None:
        self.port = free_port()
        self.desk = desk
        self.published: list[str] = []
        self.deleted: list[str] = []
        self.tokens: set[str | None] = set()
        self.app = FastAPI()
        self.app.post("/{kit}/whip")(self._publish)
        self.app.delete("/resource/{kit}")(self._delete)

    async def _publish(self, kit: str, request: Request) -> Response:
        self.tokens.add(request.headers.get("authorization"))
        answer = await self.desk.take((await request.body()).decode())
        self.published.append(kit)
        return Response(answer, 201, {"Location": f"/resource/{kit}"}, "application/sdp")

    async def _delete(self, kit: str) -> Response:
        self.deleted.append(kit)
        return Response(status_code=200)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        server = uvicorn.Server(uvicorn.Config(self.app, port=self.port, log_level="warning"))
        serving = asyncio.create_task(server.serve())
        try:
            yield f"http://127.0.0.1:{self.port}/{{kit}}/whip"
        finally:
            server.should_exit = True
            await serving


async def pictures(desk: Desk, count: int) -> list[tuple[int, int]]:
    """Sizes of frames that a viewer of Janus decoded."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sizes: list[tuple[int, int]] = []
    done, tasks = asyncio.Event(), list[asyncio.Task[None]]()

    @peer.on("track")  # type: ignore[untyped-decorator, unused-ignore]
    def read(track: object) -> None:
        async def reading() -> None:
            while len(sizes) < count:
                try:
                    frame = await track.recv()  # type: ignore[attr-defined]
                except MediaStreamError:
                    return
                sizes.append((frame.width, frame.height))
            done.set()

        tasks.append(asyncio.ensure_future(reading()))

    async def watched() -> bool:
        """Not before the camera's own connection to Janus is up."""
        try:
            await desk.watch(peer)
        except KeyError:
            return False
        return True

    await comes(watched, "the camera in the room")
    async with asyncio.timeout(60):
        await done.wait()
    await peer.close()
    return sizes


async def test_a_camera_is_handed_on_and_its_server_told_when_it_goes(tmp_path: Path) -> None:
    janus, desk = Janus(tmp_path / "janus"), None
    try:
        desk = Desk(janus.port)
        await desk.open()
        whip = Whip(desk)
        async with whip.served() as address:
            env = {
                "HOMESIDE_RELAY_VIDEO__HAND_OFF__WHIP": address,
                "HOMESIDE_RELAY_VIDEO__HAND_OFF__WHEP": "http://media.example/{kit}/whep",
                "HOMESIDE_RELAY_VIDEO__HAND_OFF__TOKEN": TOKEN,
                "HOMESIDE_RELAY_VIDEO__VIEWERS": "1",
            }
            relay = await asyncio.to_thread(RelayProgram, tmp_path / "relay", env=env)
            async with KitCamera(f"{relay.http}/video/api/whip/bed-7") as camera:
                await camera.connected()

                async def handed() -> bool:
                    return bool(whip.published)

                await comes(handed, "an offer to the media server")
                assert set(await pictures(desk, 60)) == {(640, 480)}
                await _beyond(relay)

            async def told() -> bool:
                return bool(whip.deleted)

            await comes(told, "word that the camera has gone")
            assert whip.tokens == {f"Bearer {TOKEN}"}
            assert set(whip.published) == set(whip.deleted) == {"bed-7"}
            await asyncio.to_thread(relay.stop)
    finally:
        if desk is not None:
            await desk.close()
        janus.end()


async def _beyond(relay: RelayProgram) -> None:
    """The first viewer has a place here, the next is sent to the server."""
    statuses = []
    peers = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2)]
    async with httpx.AsyncClient(timeout=30) as client:
        for peer in peers:
            peer.addTransceiver("video", direction="recvonly")
            await peer.setLocalDescription(await peer.createOffer())
            answer = await client.post(
                f"{relay.http}/video/api/whep/bed-7",
                content=peer.localDescription.sdp,
                headers={"Content-Type": "application/sdp"},
            )
            statuses.append(answer.status_code)
    assert statuses == [201, 307]
    assert answer.headers["location"] == "http://media.example/bed-7/whep"
    for peer in peers:
        await peer.close()


async def test_a_media_server_that_is_away_is_asked_again(tmp_path: Path) -> None:
    """Viewers of the relay itself notice nothing of it."""
    port = free_port()
    env = {"HOMESIDE_RELAY_VIDEO__HAND_OFF__WHIP": f"http://127.0.0.1:{port}/{{kit}}/whip"}
    relay = await asyncio.to_thread(RelayProgram, tmp_path / "relay", env=env)
    async with KitCamera(f"{relay.http}/video/api/whip/bed-8") as camera:
        await camera.connected()

        async def twice() -> bool:
            return len(relay.child.events("camera_not_handed_on")) > 1

        await comes(twice, "a second try")
    assert await asyncio.to_thread(relay.stop) == 0
    assert not relay.faults()
