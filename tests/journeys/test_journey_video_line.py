"""A viewer's bad line: losses are repaired and harm nobody else, a cut is survived, a dead server is not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, async_playwright

from tests.badline import BadLine
from tests.cameras import KitCamera
from tests.programs import RelayProgram
from tests.waiting import comes
from tests.watching import Watcher


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    """It asks a STUN server that never answers."""
    env = {"HOMESIDE_RELAY_VIDEO__ICE_SERVERS": '[{"url": "stun:192.0.2.77:3478"}]'}
    program = RelayProgram(tmp_path_factory.mktemp("relay"), env=env)
    yield program
    assert program.stop() == 0
    assert not program.faults()


@pytest.fixture
async def chrome(chromium: dict[str, Any]) -> AsyncIterator[Browser]:
    args = [*chromium["args"], "--autoplay-policy=no-user-gesture-required"]
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(**{**chromium, "args": args})
        yield running
        await running.close()


DECODED = """async () => {
  const video = document.querySelector('video')
  return video.getVideoPlaybackQuality().totalVideoFrames - video.getVideoPlaybackQuality().droppedVideoFrames
}"""


@pytest.mark.browser
@pytest.mark.parametrize("loss", [0.02, 0.1])
async def test_a_bad_line_is_repaired_and_harms_nobody_else(relay: RelayProgram, chrome: Browser, loss: float) -> None:
    """Chromium behind it: media, its requests for repair and its reports are lost alike, and it goes on playing."""
    url = f"{relay.http}/video/api/whip/loss-{loss:g}"
    async with KitCamera(url) as kit, BadLine() as line:
        await kit.connected()
        page = await chrome.new_page()
        await page.route("**/api/offer", line.through)
        await page.goto(f"{relay.http}/watch/loss-{loss:g}")
        await page.locator(".camera .pill", has_text="Live").wait_for(timeout=40_000)
        async with Watcher(relay.http, kit=f"loss-{loss:g}") as good:
            await good.frames(1)
            line.loss = loss
            begun, first = len(good.sizes), await page.evaluate(DECODED)
            await good.frames(240)
            seen, theirs = len(good.sizes) - begun, await page.evaluate(DECODED) - first
        await page.close()
    assert line.dropped >= 3
    assert theirs > 0.6 * seen, f"{theirs} of {seen} with {line.dropped} of {line.passed} datagrams dropped"

    async def left() -> bool:
        return any(entry["session"] == good.session for entry in relay.child.events("video_left"))

    await comes(left, "end of the good session")
    told = {entry["session"]: entry for entry in relay.child.events("video_left")}
    assert (told[good.session]["repaired"], told[good.session]["skipped"]) == (0, 0)
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{relay.http}/metrics")).text.splitlines()
    assert next(float(one.split()[1]) for one in lines if one.startswith("homeside_video_repaired_packets_total")) > 0


async def test_a_stock_viewer_goes_on_over_a_bad_line(relay: RelayProgram) -> None:
    """aiortc asks for each lost packet once only: what is lost twice costs it the time to the next keyframe."""
    async with BadLine() as line, Watcher(relay.http, line=line) as seen:
        await seen.frames(1)
        line.loss = 0.1
        await seen.frames(120, within=60)
        assert line.dropped > 0


async def test_a_cut_line_goes_on_where_it_was(relay: RelayProgram) -> None:
    async with BadLine() as line, Watcher(relay.http, line=line) as seen:
        await seen.frames(10)
        line.cut = True
        await asyncio.sleep(3)
        before = len(seen.sizes)
        line.cut = False
        await seen.until(lambda: len(seen.sizes) > before + 30, "pictures after the cut")


@pytest.mark.soak
async def test_a_viewer_cut_off_for_good_is_let_go(relay: RelayProgram) -> None:
    async with BadLine() as line, Watcher(relay.http, line=line) as seen, httpx.AsyncClient() as client:
        await seen.frames(1)
        line.cut = True

        async def gone() -> bool:
            return (await client.get(f"{relay.http}/api/session/{seen.session}")).status_code == 404

        await comes(gone, "end of the session", within_s=90)


@pytest.mark.browser
async def test_the_page_survives_a_cut_of_its_line(relay: RelayProgram, chrome: Browser) -> None:
    """Cut until the page says so, and mended."""
    async with BadLine() as line, KitCamera(f"{relay.http}/video/api/whip/cut") as kit:
        await kit.connected()
        page = await chrome.new_page()
        await page.route("**/api/offer", line.through)
        await page.goto(f"{relay.http}/watch/cut")
        live = page.locator(".camera .pill", has_text="Live")
        await live.wait_for(timeout=40_000)
        line.cut = True
        await page.locator(".camera .pill[data-tone=doubt]").wait_for(timeout=40_000)
        line.cut = False
        await live.wait_for(timeout=40_000)


async def test_a_silent_stun_server_delays_no_answer(relay: RelayProgram) -> None:
    """Nor do the browser's hidden names in the offer."""
    hidden = "a=candidate:1 1 udp 2122260223 5f0c43a2-1a2b-4c3d-8e9f-0a1b2c3d4e5f.local 50000 typ host\r\n"

    class Hiding(BadLine):
        @staticmethod
        def offered(sdp: str) -> str:
            return BadLine.offered(sdp) + hidden

    async with Hiding() as line, Watcher(relay.http, line=line) as seen:
        await seen.frames(10)
        assert seen.answered_s < 4.0, "aioice waits five seconds for each such server"
