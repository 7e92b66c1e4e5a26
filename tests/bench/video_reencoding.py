"""What most WebRTC servers in Python do: aiortc's MediaRelay, each viewer's picture encoded anew. A peer to measure."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from fastapi import FastAPI, Request, Response

app = FastAPI()
relay = MediaRelay()
tracks: list[Any] = []
peers: list[RTCPeerConnection] = []


@app.post("/video/api/whip/bench", status_code=201)
async def publish(request: Request) -> Response:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peers.append(peer)
    peer.on("track", tracks.append)
    await peer.setRemoteDescription(RTCSessionDescription((await request.body()).decode(), "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return Response(peer.localDescription.sdp, 201, media_type="application/sdp")


@app.post("/video/api/offer")
async def watch(request: Request) -> dict[str, str]:
    body = await request.json()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peers.append(peer)
    peer.addTrack(relay.subscribe(tracks[-1], buffered=False))
    known = peer.getTransceivers()[0].sender.getCapabilities("video").codecs
    peer.getTransceivers()[0].setCodecPreferences([one for one in known if one.mimeType in ("video/H264", "video/rtx")])
    await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return {"sdp": peer.localDescription.sdp, "type": "answer"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
