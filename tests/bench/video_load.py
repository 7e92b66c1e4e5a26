"""The load of the video benchmark, in a process and on a core of its own: one camera, many viewers, one of whom looks.

`python -m tests.bench.video_load KIND ADDRESS VIEWERS SECONDS`; a line of JSON comes out. The many count packets and
frames by what is readable without the key (the RTP marker), so that the server is what limits; the one decodes, and
compares the number in the picture with when that picture was taken.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from relay.video import sample
from tests.janus import Desk

RATE, RATE_BPS, WARM_S = 30, 1_200_000, 3.0
REPORTED, AT_ONCE = 4, 6
NUMBERS = 1 << sample.BITS


class Film(MediaStreamTrack):
    """A moving, grainy picture at 30 a second, encoded as the kit does; `taken` says when each number was."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[int, float] = {}
        self.wants_key = True
        self._number = 0
        self._due = 0.0
        rng = np.random.default_rng(1)
        self._grain = rng.integers(0, 40, (sample.HEIGHT, sample.WIDTH * 2), np.uint8)
        self._plain = [sample.picture(number) // 2 + 60 for number in range(60)]
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = sample.WIDTH, sample.HEIGHT, "yuv420p"
        context.time_base, context.framerate = fractions.Fraction(1, 90_000), fractions.Fraction(RATE)
        context.bit_rate, context.gop_size, context.profile = RATE_BPS, 300, "Baseline"
        context.options = {"preset": "veryfast", "tune": "zerolatency", "sc_threshold": "0", "level": "31"}
        self._context = context

    async def recv(self) -> av.Packet[Any]:
        now = time.monotonic()
        self._due = max(self._due + 1 / RATE, now - 0.1) if self._due else now
        await asyncio.sleep(max(0.0, self._due - now))
        self._number += 1
        number = self._number % NUMBERS
        shift = self._number * 3 % sample.WIDTH
        picture = self._plain[number % 60] + self._grain[:, shift : shift + sample.WIDTH]
        sample._squares(picture, number)
        self.taken[number] = time.time()
        frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
        frame.pts, frame.time_base = self._number * 3000, fractions.Fraction(1, 90_000)
        key, self.wants_key = self.wants_key, False
        frame.pict_type = av.video.frame.PictureType.I if key else av.video.frame.PictureType.NONE
        packet = av.Packet(b"".join(bytes(one) for one in self._context.encode(frame)))
        packet.pts, packet.time_base = frame.pts, frame.time_base
        return packet


@dataclass
class Counter:
    """A viewer that decrypts nothing."""

    packets: int = 0
    frames: int = 0
    peer: RTCPeerConnection = field(default_factory=lambda: RTCPeerConnection(RTCConfiguration(iceServers=[])))

    def blind(self) -> None:
        """From now on count what comes by its plain header alone."""
        dtls: Any = self.peer.getTransceivers()[0].receiver.transport
        connection = dtls.transport._connection
        ours, handed = self, connection.data_received

        def received(data: bytes, component: int) -> None:
            if 127 < data[0] < 192 and not 64 <= data[1] & 0x7F < 96 and ours.packets < REPORTED:
                ours.packets += 1  # enough for aiortc to know the stream, and to report on it for ever
                handed(data, component)
            elif 127 < data[0] < 192 and not 64 <= data[1] & 0x7F < 96:
                ours.packets += 1
                ours.frames += data[1] >> 7
            else:
                handed(data, component)

        connection.data_received = received


class Load:
    def __init__(self, kind: str, address: str) -> None:
        self.kind, self.address = kind, address
        self.desk = Desk(int(address)) if kind == "janus" else None
        self.http = httpx.AsyncClient(timeout=60)
        self.film = Film()

    async def publish(self) -> RTCPeerConnection:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        sender: Any = peer.addTrack(self.film)
        sender._send_keyframe = lambda: setattr(self.film, "wants_key", True)
        transceiver = peer.getTransceivers()[0]
        transceiver.direction = "sendonly"
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([one for one in known if one.mimeType in ("video/H264", "video/rtx")])
        if self.desk is not None:
            await self.desk.open()
            await self.desk.publish(peer)
        else:
            await peer.setLocalDescription(await peer.createOffer())
            kind = {"Content-Type": "application/sdp"}
            url = f"{self.address}/video/api/whip/bench"
            answer = await self.http.post(url, content=peer.localDescription.sdp, headers=kind)
            assert answer.status_code == 201, answer.text
            await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        await settled(peer)
        return peer

    async def watch(self, peer: RTCPeerConnection) -> None:
        if self.desk is not None:
            await self.desk.watch(peer)
        else:
            peer.addTransceiver("video", direction="recvonly")
            await peer.setLocalDescription(await peer.createOffer())
            body = {"sdp": peer.localDescription.sdp, "type": "offer", "kit": "bench"}
            answer = await self.http.post(f"{self.address}/video/api/offer", json=body)
            assert answer.status_code == 200, answer.text
            await peer.setRemoteDescription(RTCSessionDescription(answer.json()["sdp"], "answer"))
        await settled(peer)

    async def join(self, counter: Counter) -> None:
        await self.watch(counter.peer)
        counter.blind()


async def settled(peer: RTCPeerConnection) -> None:
    async with asyncio.timeout(60):
        while peer.connectionState != "connected":
            assert peer.connectionState not in ("failed", "closed"), peer.connectionState
            await asyncio.sleep(0.01)


async def look(track: Any, film: Film, ages: list[float]) -> None:
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        taken = film.taken.get(sample.read_squares(frame.to_ndarray(format="gray")))
        if taken is not None:
            ages.append(time.time() - taken)


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def main(kind: str, address: str, pid: int, count: int, seconds: float) -> None:
    load = Load(kind, address)
    publisher = await load.publish()
    ages: list[float] = []
    eye = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    looking: list[asyncio.Task[None]] = []
    eye.on("track", lambda track: looking.append(asyncio.ensure_future(look(track, load.film, ages))))
    await load.watch(eye)
    counters = [Counter() for _ in range(count - 1)]
    for at in range(0, len(counters), AT_ONCE):
        await asyncio.gather(*(load.join(counter) for counter in counters[at : at + AT_ONCE]))
    await asyncio.sleep(WARM_S)
    ages.clear()
    before = [(one.packets, one.frames) for one in counters]
    cpu, began = cpu_of(pid), time.monotonic()
    await asyncio.sleep(seconds)
    cpu, passed = cpu_of(pid) - cpu, time.monotonic() - began
    packets = [one.packets - first for one, (first, _) in zip(counters, before, strict=True)]
    frames = sorted((one.frames - first) / passed for one, (_, first) in zip(counters, before, strict=True))
    ages.sort()
    found = {
        "cpu": cpu / passed,
        "packets": sum(packets) / passed * count / max(1, len(packets)),
        "slowest": frames[0] if frames else len(ages) / passed,
        "fps": len(ages) / passed,
        "p50": 1000 * ages[len(ages) // 2] if ages else 9999.0,
        "p95": 1000 * ages[int(len(ages) * 0.95)] if ages else 9999.0,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    await publisher.close()


if __name__ == "__main__":
    kind, address, pid, count, seconds = sys.argv[1:]
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(main(kind, address, int(pid), int(count), float(seconds)), 180))
    except (TimeoutError, AssertionError):
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(0)  # hundreds of peers need no goodbye
