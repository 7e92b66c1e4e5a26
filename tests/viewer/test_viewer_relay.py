"""A phone, the real relay and a physician's browser: what the sensor said is seen, and every sample is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, WebSocket

from tests.programs import RelayProgram
from tests.viewer.conftest import DESK, PHONE
from tests.viewer.looking import drawing, wait_state, wait_words, words
from tests.viewer.phone import Phone
from tests.waiting import until

pytestmark = pytest.mark.browser


class Sent:
    """Every sample a page has sent by any of its sockets, once each."""

    def __init__(self, page: Page) -> None:
        self.batches: dict[tuple[str, int], list[dict[str, float]]] = {}
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framesent", self._take)

    def _take(self, frame: str | bytes) -> None:
        message: dict[str, Any] = json.loads(frame)
        if message["type"] == "samples_batch":
            self.batches[message["boot"], message["seq"]] = message["payload"]["samples"]

    @property
    def samples(self) -> list[dict[str, float]]:
        return sorted((sample for batch in self.batches.values() for sample in batch), key=lambda sample: sample["t"])


def test_phone_is_seen_and_nothing_is_lost_when_the_relay_is_killed(browser: Browser, tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path / "relay")
    try:
        page = browser.new_page(viewport=PHONE)
        sent = Sent(page)
        page.goto(f"{relay.http}/measure")
        phone = Phone(page)
        phone.start()
        session = page.url.rsplit("/", 1)[1]
        link = words(page, ".link")
        assert link == f"{relay.http}/view/{session}"
        physician = browser.new_page(viewport=DESK)
        physician.goto(link)
        phone.until(lambda: physician.evaluate("document.body.dataset.state") == "live", "the physician to see it live")
        phone.until(lambda: "1 person is watching" in words(page, "#watching"), "the phone to know of it")
        phone.until(lambda: not drawing(physician, "#wave").empty.all(), "the line to be drawn")
        assert "Phone or computer" in words(physician, "[data-reading=source]")

        relay.kill()
        phone.until(lambda: "offline" in words(page, "#state"), "the phone to notice")
        phone.for_(1)
        relay = relay.again()
        phone.until(lambda: words(page, "#kept") == "All sent", "all to be acknowledged")
        phone.until(lambda: physician.evaluate("document.body.dataset.state") == "live", "the physician to be back")
        phone.for_(1)
        page.locator("#finish").click()
        phone.wait_phase("done")
        wait_state(physician, "ended")
        wait_words(physician, "[data-review=length]", " s")
        stored = httpx.get(f"{relay.http}/api/v1/sessions/{session}", timeout=10).json()
        assert stored["samples"] == sent.samples
        assert len(sent.samples) > 100
        assert stored["endedAt"]
        assert phone.kept() == 0
        until(lambda: not drawing(physician, "[data-review=wave]").empty.all(), "the recording to be drawn")
        page.close()
        physician.close()
    finally:
        assert relay.stop() == 0
