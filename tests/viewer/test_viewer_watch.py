"""The camera pages in Chromium: pictures, each with its own skeleton, words for every state, and their recovery."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.cameras import KitCamera
from tests.programs import RelayProgram, token
from tests.trust.enrolling import TrustingRelay
from tests.waiting import comes

pytestmark = pytest.mark.browser
WITHIN_MS = 40_000
REDOCS_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
"""ReDoc asks for it, and the page's policy does not let it."""
DOCUMENTED_CLIENT = """
async () => {
  const video = document.createElement('video');
  Object.assign(video, { autoplay: true, playsInline: true, muted: true });
  document.body.append(video);
  let frames = 0, first = 0;
  const began = performance.now();
  const count = () => { frames += 1; first ||= performance.now() - began; video.requestVideoFrameCallback(count); };
  video.requestVideoFrameCallback(count);
  const peerConnection = new RTCPeerConnection({ iceServers: [{ urls: 'stun:stun.l.google.com:19302' }] });
  peerConnection.ontrack = (event) => { video.srcObject = event.streams[0]; };
  const offer = await peerConnection.createOffer({ offerToReceiveVideo: true, offerToReceiveAudio: false });
  await peerConnection.setLocalDescription(offer);
  const response = await fetch('/api/offer', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ sdp: offer.sdp, type: offer.type }),
  });
  if (!response.ok) throw new Error(`HTTP error! status: ${response.status}`);
  const answer = await response.json();
  await peerConnection.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
  while (frames < 60 && performance.now() - began < 30000) await new Promise((done) => setTimeout(done, 50));
  const size = [video.videoWidth, video.videoHeight];
  peerConnection.close();
  await fetch(`/api/session/${answer.session_id}`, { method: 'DELETE' });
  return { frames, first, size };
}
"""
WHEP_CLIENT = """
async () => {
  const peer = new RTCPeerConnection();
  peer.addTransceiver('video', { direction: 'recvonly' });
  let track = null;
  peer.ontrack = (event) => { track = event.track; };
  await peer.setLocalDescription();
  const headers = { 'Content-Type': 'application/sdp' };
  const answer = await fetch('/video/api/whep/sample', { method: 'POST', headers, body: peer.localDescription.sdp });
  await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  const inbound = async () => [...(await peer.getStats()).values()].find((one) => one.type === 'inbound-rtp');
  const decoded = async () => (await inbound())?.framesDecoded ?? 0;
  const rest = () => new Promise((done) => setTimeout(done, 50));
  for (let tries = 0; tries < 600 && (await decoded()) < 30; tries += 1) await rest();
  const found = { status: answer.status, frames: await decoded(), where: answer.headers.get('Location') };
  found.ended = (await fetch(found.where, { method: 'DELETE' })).status;
  peer.close();
  return found;
}
"""


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    program = RelayProgram(tmp_path_factory.mktemp("relay"))
    yield program
    assert program.stop() == 0
    assert not program.faults()


@pytest.fixture
async def chrome(chromium: dict[str, Any]) -> AsyncIterator[Browser]:
    chromium = {**chromium, "args": [*chromium["args"], "--autoplay-policy=no-user-gesture-required"]}
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(**chromium)
        yield running
        await running.close()


def faults_of(page: Page) -> list[str]:
    """What the page complained of; a refused policy is among it."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    return found


async def test_the_documents_own_client_plays(relay: RelayProgram, chrome: Browser) -> None:
    page = await chrome.new_page()
    await page.goto(f"{relay.http}/measure")
    found = await page.evaluate(DOCUMENTED_CLIENT)
    assert found["frames"] >= 60
    assert found["size"] == [640, 480]


async def test_a_whep_client_plays(relay: RelayProgram, chrome: Browser) -> None:
    page = await chrome.new_page()
    await page.goto(f"{relay.http}/measure")
    found = await page.evaluate(WHEP_CLIENT)
    assert (found["status"], found["ended"]) == (201, 200)
    assert found["frames"] >= 30
    assert found["where"].startswith("/video/api/whep/sample/")


async def test_the_reference_is_drawn_from_here_alone(relay: RelayProgram, chrome: Browser) -> None:
    for path, where in (("/docs", ".opblock-summary-description"), ("/redoc", "h2")):
        page = await chrome.new_page()
        faults, asked = faults_of(page), []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        await page.goto(relay.http + path)
        await page.locator(where, has_text="Exchange SDP Offer/Answer").first.wait_for(timeout=WITHIN_MS)
        assert {url for url in asked if not url.startswith((relay.http, "data:", "blob:"))} <= {REDOCS_LOGO}
        assert [fault for fault in faults if f"'{REDOCS_LOGO}' violates" not in fault] == []
        await page.close()


async def test_a_picture_with_the_skeleton_of_that_very_picture(relay: RelayProgram, chrome: Browser) -> None:
    async with KitCamera(f"{relay.http}/video/api/whip/bed-1", poses=True) as camera:
        await camera.connected()
        page = await chrome.new_page(viewport={"width": 1440, "height": 900})
        faults = faults_of(page)
        await page.goto(f"{relay.http}/watch")
        tile = page.locator(".camera", has_text="bed-1")
        await tile.locator(".pill[data-tone=live]").wait_for(timeout=WITHIN_MS)
        await page.wait_for_function("() => +document.querySelector('.camera').dataset.exact > 30", timeout=WITHIN_MS)
        await tile.get_by_text("640 × 480").wait_for(timeout=WITHIN_MS)
        assert await ink(page) > 200
        await tile.get_by_role("button", name="Skeleton").click()
        await page.wait_for_timeout(500)
        assert await ink(page) == 0
        assert faults == []


async def ink(page: Page) -> int:
    """Pixels drawn over the picture."""
    return int(
        await page.evaluate(
            """() => {
              const canvas = document.querySelector('canvas[data-part=overlay]')
              const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
              let drawn = 0
              for (let at = 3; at < data.length; at += 4) drawn += data[at] > 0
              return drawn
            }"""
        )
    )


async def is_blank(page: Page) -> bool:
    return await ink(page) == 0


async def test_the_patients_wish_is_said(relay: RelayProgram, chrome: Browser) -> None:
    async with KitCamera(f"{relay.http}/video/api/whip/bed-2", level="skeleton", poses=True) as camera:
        await camera.connected()
        page = await chrome.new_page(viewport={"width": 360, "height": 740})
        await page.goto(f"{relay.http}/watch/bed-2")
        await page.locator(".camera .words", has_text="no picture leaves the home").wait_for(timeout=WITHIN_MS)
        assert await ink(page) > 100
        camera.poses = False
        await page.locator(".camera .words", has_text="Nobody is seen now").wait_for(timeout=WITHIN_MS)
        await comes(lambda: is_blank(page), "picture of nobody")
        camera.gate.word = "blurred"
        await page.locator(".camera .words", has_text="Blurred by the patient").wait_for(timeout=WITHIN_MS)
        await page.locator(".camera .pill[data-tone=live]").wait_for(timeout=WITHIN_MS)


async def test_it_comes_back_by_itself(relay: RelayProgram, chrome: Browser) -> None:
    page = await chrome.new_page()
    await page.goto(f"{relay.http}/watch/bed-3")
    await page.locator(".camera .words", has_text="This kit sends no picture now").wait_for(timeout=WITHIN_MS)
    url = f"{relay.http}/video/api/whip/bed-3"
    async with KitCamera(url) as camera:
        await camera.connected()
        await page.locator(".camera .pill", has_text="Live").wait_for(timeout=WITHIN_MS)
    await page.locator(".camera .words", has_text="No picture comes from the kit").wait_for(timeout=WITHIN_MS)
    async with KitCamera(url) as camera:
        await camera.connected()
        await page.locator(".camera .pill", has_text="Live").wait_for(timeout=WITHIN_MS)


async def test_it_survives_a_restart_of_the_relay(tmp_path_factory: pytest.TempPathFactory, chrome: Browser) -> None:
    relay = RelayProgram(tmp_path_factory.mktemp("restarted"))
    page = await chrome.new_page()
    await page.goto(f"{relay.http}/watch/sample")
    live = page.locator(".camera .pill", has_text="Live")
    await live.wait_for(timeout=WITHIN_MS)
    await asyncio.to_thread(relay.kill)
    await page.locator(".camera .pill:not([data-tone=live])").wait_for(timeout=WITHIN_MS)
    relay = await asyncio.to_thread(relay.again)
    await live.wait_for(timeout=WITHIN_MS)
    assert relay.stop() == 0


DARK_PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}


async def objections(page: Page, axe: str) -> list[object]:
    """What axe-core finds wrong with the page as it stands."""
    await page.evaluate(axe + "; undefined")
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations)")
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


async def press(page: Page, name: str) -> None:
    """The control of this name, reached by the Tab key alone, and pressed."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent.trim()") == name:
            return await page.keyboard.press("Enter")
    raise AssertionError(f"{name} is not reached by keyboard")


async def test_recorded_by_keyboard_on_a_dark_phone(relay: RelayProgram, chrome: Browser, axe: str) -> None:
    """Who wants it is asked, said to another who watches, and the file is saved when it has ended."""
    async with KitCamera(f"{relay.http}/video/api/whip/bed-4") as camera:
        await camera.connected()
        page, beside = await chrome.new_page(**DARK_PHONE), await chrome.new_page()
        for one, path in ((page, "/watch/bed-4"), (beside, "/watch")):
            await one.goto(relay.http + path)
            await one.locator(".camera .pill", has_text="Live").first.wait_for(timeout=WITHIN_MS)
        await page.get_by_role("button", name="Record").wait_for(timeout=WITHIN_MS)
        await press(page, "Record")
        await page.get_by_label("Who wants this recording").wait_for(timeout=WITHIN_MS)
        assert await objections(page, axe) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        await page.keyboard.type("Dr. Sato, gait")
        await page.keyboard.press("Enter")
        for one in (page, beside):
            await one.get_by_text("Being recorded. Wanted by: Dr. Sato, gait").wait_for(timeout=WITHIN_MS)
        await page.wait_for_timeout(1500)
        assert await objections(page, axe) == []
        await press(page, "Stop recording")
        await page.get_by_text("Recorded: ").wait_for(timeout=WITHIN_MS)
        await beside.get_by_text("Being recorded").wait_for(state="hidden", timeout=WITHIN_MS)
        async with page.expect_download(timeout=WITHIN_MS) as saving:
            await press(page, "Save recording")
        path = await (await saving.value).path()
        assert path.read_bytes()[4:8] == b"ftyp"


async def test_controls_of_a_wall_by_keyboard(relay: RelayProgram, chrome: Browser, axe: str) -> None:
    """Several kits on one wall: skeleton off, the picture saved, one of them on the whole screen and back."""
    urls = [f"{relay.http}/video/api/whip/ward-{number}" for number in (1, 2)]
    async with KitCamera(urls[0], poses=True) as one, KitCamera(urls[1], poses=True) as other:
        await one.connected()
        await other.connected()
        page = await chrome.new_page(**DARK_PHONE)
        await page.goto(f"{relay.http}/watch")
        for name in ("ward-1", "ward-2"):
            await page.locator(".camera", has_text=name).locator(".pill", has_text="Live").wait_for(timeout=WITHIN_MS)
        assert await objections(page, axe) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        await press(page, "Skeleton")
        await page.locator("button[aria-pressed=false]", has_text="Skeleton").wait_for(timeout=WITHIN_MS)
        async with page.expect_download(timeout=WITHIN_MS) as saving:
            await press(page, "Save picture")
        assert (await saving.value).suggested_filename.endswith(".png")
        await press(page, "Full screen")
        await page.wait_for_function("document.fullscreenElement?.matches('.picture')", timeout=WITHIN_MS)
        await page.keyboard.press("Escape")
        await page.evaluate("document.fullscreenElement && document.exitFullscreen()")
        await page.wait_for_function("!document.fullscreenElement", timeout=WITHIN_MS)


async def test_over_tls_with_a_link_of_ones_own(tmp_path: Path, chrome: Browser) -> None:
    """The one public port: a kit sends with its token, staff see with theirs, and nobody without one."""
    relay = await asyncio.to_thread(TrustingRelay, tmp_path)
    kit = await asyncio.to_thread(token, relay.data, "--role", "kit", "--name", "bed-5")
    staff = await asyncio.to_thread(token, relay.data, "--role", "physiotherapist", "--name", "anna")
    tls = ssl.create_default_context(cafile=str(relay.anchor))
    async with KitCamera(f"{relay.url}/video/api/whip/bed-5", token=kit, tls=tls) as camera:
        await camera.connected()
        guests = await chrome.new_context(ignore_https_errors=True)
        page = await guests.new_page()
        await page.goto(f"{relay.url}/watch/bed-5")
        await page.locator(".camera .words", has_text="needs a link or a sign-in").wait_for(timeout=WITHIN_MS)
        await page.goto(f"{relay.url}/watch/bed-5?token={staff}")
        await page.locator(".camera .pill", has_text="Live").wait_for(timeout=WITHIN_MS)
        await page.goto(f"{relay.url}/watch?token={staff}")
        await page.get_by_text("1 camera").wait_for(timeout=WITHIN_MS)
        await page.get_by_role("button", name="Record").wait_for(timeout=WITHIN_MS)
        await guests.close()
    assert await asyncio.to_thread(relay.program.stop) == 0
