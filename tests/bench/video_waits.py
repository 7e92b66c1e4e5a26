"""How long people wait for a picture: first, after the kit was away, and behind the glass of a real browser.

Each figure is taken with the relay on a core of its own, on this machine's own address; nothing else is watched then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from playwright.async_api import async_playwright

from relay.video import sample
from tests.badline import BadLine
from tests.bench.video_load import Load
from tests.cameras import KitCamera
from tests.peers import CHROMIUM_FLAGS
from tests.watching import Watcher

HIDDEN = "a=candidate:1 1 udp 2122260223 5f0c43a2-1a2b-4c3d-8e9f-0a1b2c3d4e5f.local 50000 typ host\r\n"
SILENT_STUN = '[{"url": "stun:192.0.2.77:3478"}]'
TIMES, RETURNS = 30, 6
LOOK = """
async ([seconds, bits, square]) => {
  const peer = new RTCPeerConnection()
  peer.addTransceiver('video', { direction: 'recvonly' })
  const video = Object.assign(document.createElement('video'), { autoplay: true, muted: true, playsInline: true })
  document.body.append(video)
  peer.ontrack = (event) => { video.srcObject = new MediaStream([event.track]) }
  await peer.setLocalDescription()
  const body = JSON.stringify({ sdp: peer.localDescription.sdp, type: 'offer', kit: 'bench' })
  const answer = await fetch('/api/offer', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })
  await peer.setRemoteDescription(await answer.json())
  const canvas = Object.assign(document.createElement('canvas'), { width: bits * square, height: 8 })
  const context = canvas.getContext('2d', { willReadFrequently: true })
  const seen = []
  const look = (_, frame) => {
    const shown = performance.timeOrigin + performance.now()
    context.drawImage(video, 40, frame.height - square / 2 - 4, bits * square, 8, 0, 0, bits * square, 8)
    const { data } = context.getImageData(0, 0, bits * square, 8)
    let number = 0
    const middle = 4 * bits * square + square / 2
    for (let bit = 0; bit < bits; bit++) number = number * 2 + (data[4 * (middle + bit * square)] > 128)
    seen.push([number, shown])
    video.requestVideoFrameCallback(look)
  }
  video.requestVideoFrameCallback(look)
  await new Promise((done) => setTimeout(done, 1000 * seconds))
  peer.close()
  return seen
}
"""


class Hiding(BadLine):
    """A browser's offer: addresses behind names that only its own host resolves."""

    @staticmethod
    def offered(sdp: str) -> str:
        return BadLine.offered(sdp) + HIDDEN


async def answers_and_first_frames(address: str) -> dict[str, float]:
    """p95 of both, in ms, from a relay that asks a silent STUN server, to viewers who hide their addresses."""
    answered, first = [], []
    async with KitCamera(f"{address}/video/api/whip/bench") as kit:
        await kit.connected()
        for _ in range(TIMES):
            async with Hiding() as line:
                began = time.monotonic()
                async with Watcher(address, kit="bench", line=line) as seen:
                    await seen.frames(1)
                    first.append(seen.arrived[0] - began)
                    answered.append(seen.answered_s)
    return {"answer": p95(answered), "first": p95(first)}


async def returns(address: str) -> float:
    """The longest of some times a kit came back, from its offer to the viewer's next picture, in ms."""
    waits = []
    url = f"{address}/video/api/whip/back"
    async with KitCamera(url) as kit:
        await kit.connected()
        seen = await Watcher(address, kit="back").__aenter__()
        await seen.frames(5)
    for _ in range(RETURNS):
        await asyncio.sleep(1.0)
        began = time.monotonic()
        async with KitCamera(url):
            await seen.until(lambda began=began: seen.arrived[-1] > began, "picture of a kit that came back")
            waits.append(seen.arrived[-1] - began)
    await seen.__aexit__()
    return 1000 * max(waits)


async def glass(address: str, seconds: float) -> dict[str, float]:
    """From the camera's picture to Chromium's shown frame, in ms: the only viewer, 640x480 at 30 a second."""
    load = Load("homeside", address)
    publisher = await load.publish()
    async with async_playwright() as playwright:
        flags = [*CHROMIUM_FLAGS, "--autoplay-policy=no-user-gesture-required"]
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        page = await browser.new_page()
        await page.goto(f"{address}/measure")
        seen: Sequence[Any] = await page.evaluate(LOOK, [seconds + 2.0, sample.BITS, sample.SQUARE])
        await browser.close()
    await publisher.close()
    steady = [one for one in seen if one[1] > seen[0][1] + 2000]
    ages = [shown / 1000 - load.film.taken[number] for number, shown in steady if number in load.film.taken]
    return {"p50": 1000 * sorted(ages)[len(ages) // 2], "p95": p95(ages), "fps": len(ages) / seconds}


def p95(waits: Sequence[float]) -> float:
    """In ms."""
    return 1000 * sorted(waits)[int(len(waits) * 0.95)]
