"""One real Chromium a module, one real server a module, and a page that fails its test when it complains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.peers import CHROMIUM_FLAGS
from tests.viewer.peer import Peer

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
VENDORED = ROOT / "relay" / "viewer" / "vendor" / "uPlot.esm.js"
FLAGS = [*CHROMIUM_FLAGS, "--host-resolver-rules=MAP homeside.test 127.0.0.1"]
WINDOW: ViewportSize = {"width": 1000, "height": 700}
DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed: apt-get install chromium")
    if not VENDORED.exists():
        pytest.skip("the chart library is not in relay/viewer/vendor: make install")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer().running() as found:
        yield found


@pytest.fixture
def open_page(browser: Browser, peer: Peer) -> Iterator[Open]:
    """`open_page(path, viewport=WINDOW, …)`: a page of a fresh context. Whatever it complains of fails the test."""
    contexts, complaints = [], []

    def open_(path: str, *, expect_failures: bool = False, **options: object) -> Page:
        context = browser.new_context(**{"viewport": WINDOW, "color_scheme": "light", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if not expect_failures:
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(peer.url + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
