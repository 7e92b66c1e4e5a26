"""The signing page in real Chromium, its camera a film of real photographs: letters, sentence, learning, watching."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, sync_playwright

from tests.films import fitted
from tests.peers import CHROMIUM_FLAGS
from tests.programs import RelayProgram
from tests.viewer.conftest import CHROMIUM, DESK, PHONE
from tests.waiting import until

pytestmark = pytest.mark.browser
Sign = Callable[..., Page]
LISTEN = "window.said = []; speechSynthesis.speak = (words) => said.push([words.text, words.lang]);"
"""Keeps what is read aloud: a headless browser has no voice."""
HURRY = """
  const now = performance.now.bind(performance), later = setTimeout
  performance.now = () => 10 * now()
  window.setTimeout = (act, ms) => later(act, ms / 4)
"""
"""Somebody who needs a tenth of the time to show the next letter."""


def y4m(path: Path, pictures: list[tuple[Any, float]], rate: int = 10) -> Path:
    """Pictures as the raw video that Chromium plays in place of a camera."""
    height, width = pictures[0][0].shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for pixels, seconds in pictures:
            planes = cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420).tobytes()
            file.write((b"FRAME\n" + planes) * int(seconds * rate))
    return path


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    program = RelayProgram(tmp_path_factory.mktemp("relay"))
    yield program
    assert program.stop() == 0
    assert not program.faults()


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserType]:
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope="module")
def filmed(chromium: BrowserType, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera sees somebody hold a Y for three seconds and then nobody for four, again and again."""
    call = fitted(data_dir / "hands" / "call_0413d5c5.jpg")
    yield from before(chromium, tmp_path_factory.mktemp("film") / "camera.y4m", [(call, 3.0), (call * 0 + 90, 4.0)])


@pytest.fixture
def steady(chromium: BrowserType, data_dir: Path, tmp_path: Path) -> Iterator[Browser]:
    """A browser whose camera sees a hand all the time."""
    photographs = sorted((data_dir / "hands").glob("call_*.jpg"))
    yield from before(chromium, tmp_path / "steady.y4m", [(fitted(one), 2.0) for one in photographs])


def before(chromium: BrowserType, film: Path, pictures: list[tuple[Any, float]]) -> Iterator[Browser]:
    """Chromium with a film in place of its camera."""
    flags = [
        *CHROMIUM_FLAGS,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={y4m(film, pictures)}",
    ]
    found = chromium.launch(executable_path=str(CHROMIUM), args=flags)
    yield found
    found.close()


@pytest.fixture
def sign(request: pytest.FixtureRequest, relay: RelayProgram) -> Iterator[Sign]:
    """`sign(path)`: the page of a fresh context; whatever it complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_(path: str = "/signing", *, camera: str = "filmed", hurry: bool = False, **options: Any) -> Page:
        browser: Browser = request.getfixturevalue(camera)
        contexts.append(browser.new_context(**{"viewport": DESK, "color_scheme": "light", **options}))
        page = contexts[-1].new_page()
        page.add_init_script(LISTEN + (HURRY if hurry else ""))
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(relay.http + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def text(page: Page, name: str) -> str:
    return page.locator(f"#{name}").inner_text()


def switched_on(page: Page) -> Page:
    page.click("#camera")
    until(lambda: page.evaluate("document.body.dataset.state") == "live", "pictures to be read")
    return page


def test_a_hand_becomes_a_letter_and_a_sentence(sign: Sign) -> None:
    page = sign()
    assert text(page, "state") == "Camera off"
    page.click("#aloud")
    assert page.get_attribute("#aloud", "aria-pressed") == "true"
    switched_on(page)
    until(lambda: text(page, "letter") == "Y", "the letter")
    assert text(page, "sure").startswith("Sure, ")
    until(lambda: page.locator("#overlay line").count() == 20, "the hand over the picture")
    until(lambda: text(page, "sequence") == "Y", "the letter to count")
    until(lambda: text(page, "sentence") == "Y", "the sentence")
    assert "from the letters alone" in text(page, "doubt")
    assert page.evaluate("said") == [["Y", "en-US"]]
    page.click("#speak")
    assert page.evaluate("said").count(["Y", "en-US"]) >= 2
    until(lambda: text(page, "sure") == "No hand in the picture", "nobody")
    page.click("#camera")
    assert text(page, "state") == "Camera off"
    assert page.evaluate("document.querySelector('#video').srcObject") is None


def test_somebody_else_watches(sign: Sign) -> None:
    page = sign()
    with page.expect_websocket() as opened:
        switched_on(page)
    watcher = sign(f"/signing/{session_of(opened.value)}")
    until(lambda: text(watcher, "state") == "Watching", "the watcher's socket")
    assert not watcher.locator("#eye").is_visible()
    until(lambda: text(watcher, "sequence") == "Y", "the letter")
    until(lambda: text(watcher, "sentence") == "Y", "the sentence")


def session_of(socket: Any) -> str:
    """The session that a page's frames go into."""
    sent = socket.wait_for_event("framesent", lambda payload: "session_id" in str(payload))
    return str(sent).split('"session_id":"')[1].split('"')[0]


def test_a_letter_is_learned_by_showing_it(sign: Sign) -> None:
    page = sign()
    until(lambda: page.locator("#alphabet button").count() == 36, "the alphabet")
    page.click("#alphabet button:text-is('Y')")
    assert page.locator("#shape path:not(.edge)").count() == 11, "the palm, and two parts of each finger"
    assert page.locator("#shape svg").get_attribute("aria-label") == "The hand for Y"
    switched_on(page)
    until(lambda: text(page, "lesson") == "That is Y. Well done.", "the tick")
    assert page.locator("#alphabet button[data-done=yes]").inner_text() == "Y"


@pytest.mark.timeout(300)
def test_it_is_taught_ones_own_hand_and_forgets_it(sign: Sign) -> None:
    """Thirteen letters one after the other, kept by the relay, read with from then on, and gone when asked."""
    page = sign(camera="steady", hurry=True)
    commands: list[dict[str, Any]] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda sent: commands.append(json.loads(sent))))
    switched_on(page)
    page.click("#teach")
    until(lambda: text(page, "own-text") == "Hold G still. 1 of 13.", "the first letter")
    assert page.locator("#shape svg").get_attribute("aria-label") == "The hand for G"
    page.click("#teach")
    assert text(page, "own-text") == "Stopped. Nothing was kept."
    page.click("#teach")
    until(lambda: text(page, "own-text") == "Hold H still. 2 of 13.", "the second letter")
    with page.expect_response(lambda answer: "/calibration/" in answer.url, timeout=120_000) as kept:
        pass
    assert kept.value.status == 200
    body: Any = kept.value.request.post_data_json
    shown = body["letters"]
    assert ("".join(shown), {len(frames) for frames in shown.values()}) == ("GHKMNPQRSTUVX", {10})
    until(lambda: text(page, "own-text") == "It reads with your hand from now on.", "it to be kept")
    name = page.evaluate("localStorage.getItem('homeside.signing.calibration')")
    until(lambda: started(commands).get("calibration") == name, "reading with it")
    page.click("#unteach")
    until(lambda: text(page, "own-text") == "Forgotten.", "it to be forgotten")
    until(lambda: started(commands)["calibration"] == "", "reading without it")
    assert not page.locator("#unteach").is_visible()
    assert httpx.delete(kept.value.url).status_code == 404


def started(commands: list[dict[str, Any]]) -> dict[str, Any]:
    """The payload of the last start."""
    found = [one["payload"] for one in commands if one["payload"].get("action") == "start"]
    return dict(found[-1])


def test_a_forbidden_camera_is_told_in_words(sign: Sign) -> None:
    page = sign()
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () =>"
        " Promise.reject(new DOMException('no', 'NotAllowedError')) }"
    )
    page.click("#camera")
    until(lambda: text(page, "notice-head") == "No camera", "the words")
    assert "Allow it" in text(page, "notice-text")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_it_fits_and_is_accessible(sign: Sign, repo_root: Path, viewport: Any, scheme: Any) -> None:
    axe = repo_root / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("axe-core is not in node_modules: make test installs it")
    page = switched_on(sign(viewport=viewport, color_scheme=scheme, bypass_csp=True))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.add_script_tag(path=str(axe))
    found = page.evaluate("axe.run().then((r) => r.violations.map((v) => v.id + ': ' + v.nodes[0].html))")
    assert found == []
