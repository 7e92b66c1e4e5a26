"""Debian's Janus, an independent forwarder to compare with ours: a VideoRoom controlled over its REST interface."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import httpx
from aiortc import RTCPeerConnection, RTCSessionDescription

from tests.peers import Child, find_peer, free_port, listens

PLUGINS = "/usr/lib/x86_64-linux-gnu/janus"
ROOM = 1234


class Janus:
    """A running Janus with one room."""

    def __init__(self, folder: Path, *prefix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        (folder / "janus.jcfg").write_text(
            "general: {\n  protected_folders = []\n  debug_level = 3\n}\n"
            'media: {\n  rtp_port_range = "20000-60000"\n}\nnat: {\n  ice_lite = false\n}\n'
            'plugins: {\n  disable = "libjanus_streaming.so,libjanus_sip.so,libjanus_nosip.so,libjanus_lua.so,'
            "libjanus_duktape.so,libjanus_audiobridge.so,libjanus_recordplay.so,libjanus_voicemail.so,"
            'libjanus_textroom.so,libjanus_videocall.so,libjanus_echotest.so"\n}\n'
            'transports: {\n  disable = "libjanus_websockets.so,libjanus_pfunix.so,libjanus_mqtt.so,'
            'libjanus_nanomsg.so,libjanus_rabbitmq.so"\n}\n'
        )
        (folder / "janus.transport.http.jcfg").write_text(
            f'general: {{\n  json = "compact"\n  base_path = "/janus"\n  http = true\n  port = {self.port}\n'
            '  ip = "127.0.0.1"\n  https = false\n}\nadmin: {\n  admin_http = false\n}\n'
        )
        (folder / "janus.plugin.videoroom.jcfg").write_text(
            f'room-{ROOM}: {{\n  publishers = 6\n  bitrate = 3000000\n  videocodec = "h264"\n  record = false\n}}\n'
        )
        program = find_peer("janus", "janus")
        self.child = Child([*prefix, program, "-F", str(folder), "-o"], cwd=folder)
        self.child.wait_until(lambda: listens(self.port), "answer of Janus")

    def end(self) -> None:
        self.child.kill()


class Desk:
    """One client's connection to Janus: a session, its events, and a handle for each peer."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/janus"
        self._http = httpx.AsyncClient(timeout=40)
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._polling: asyncio.Task[None] | None = None
        self.feed = 0

    async def open(self) -> None:
        found = await self._post(self._base, {"janus": "create"})
        self._base = f"{self._base}/{found['data']['id']}"
        self._polling = asyncio.create_task(self._poll())

    async def close(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
        await self._http.aclose()

    async def publish(self, peer: RTCPeerConnection) -> None:
        await peer.setLocalDescription(await peer.createOffer())
        await peer.setRemoteDescription(RTCSessionDescription(await self.take(peer.localDescription.sdp), "answer"))

    async def take(self, offer: str) -> str:
        """Send a publisher's offer; returns the room's answer."""
        handle = await self._handle()
        body = {"request": "joinandconfigure", "room": ROOM, "ptype": "publisher", "display": "camera", "audio": False}
        found = await self._ask(handle, body, {"type": "offer", "sdp": offer})
        self.feed = found["plugindata"]["data"]["id"]
        return str(found["jsep"]["sdp"])

    async def watch(self, peer: RTCPeerConnection) -> None:
        handle = await self._handle()
        body = {"request": "join", "room": ROOM, "ptype": "subscriber", "streams": [{"feed": self.feed}]}
        found = await self._ask(handle, body)
        await peer.setRemoteDescription(RTCSessionDescription(found["jsep"]["sdp"], "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        jsep = {"type": "answer", "sdp": peer.localDescription.sdp}
        await self._ask(handle, {"request": "start", "room": ROOM}, jsep)

    async def _handle(self) -> int:
        found = await self._post(self._base, {"janus": "attach", "plugin": "janus.plugin.videoroom"})
        return int(found["data"]["id"])

    async def _ask(self, handle: int, body: dict[str, Any], jsep: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the plugin and return the event that answers it."""
        transaction = secrets.token_hex(6)
        waiting = self._answers[transaction] = asyncio.get_running_loop().create_future()
        message = {"janus": "message", "transaction": transaction, "body": body, **({"jsep": jsep} if jsep else {})}
        await self._http.post(f"{self._base}/{handle}", json=message)
        return await asyncio.wait_for(waiting, 20)

    async def _poll(self) -> None:
        while True:
            events = (await self._http.get(f"{self._base}?maxev=20")).json()
            for event in events if isinstance(events, list) else [events]:
                waiting = self._answers.pop(event.get("transaction", ""), None)
                if waiting is not None and not waiting.done() and "plugindata" in event:
                    waiting.set_result(event)

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        found = (await self._http.post(url, json={**body, "transaction": secrets.token_hex(6)})).json()
        assert found["janus"] == "success", found
        return dict(found)
