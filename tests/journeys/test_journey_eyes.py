"""A video goes into a kit's camera; a physiotherapist sees skeleton, degrees and repetitions, live and afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.contract.care import PASSWORD, Care, data_of
from tests.peers import Child, start_homeside

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
KIT = "livingroom-1"


@pytest.fixture(scope="module")
def care(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    running = Care(tmp_path_factory.mktemp("eyes"), "sqlite", None)
    running.relay.hears_kits()
    yield running
    assert running.relay.stop() == 0
    assert not running.relay.faults()


@pytest.fixture
def chrome(chromium: dict[str, Any]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(**chromium)
        yield running
        running.close()


def sign_in(chrome: Browser, care: Care, name: str, path: str, **options: Any) -> Page:
    page = chrome.new_context(**options).new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{care.relay.http}/app/?next={path}")
    page.get_by_label("E-mail address").fill(f"{name}@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{path}")
    return page


def start_kit(care: Care, folder: Path, video: Path, *words: str) -> Child:
    broker = f"mqtt://127.0.0.1:{care.relay.mqtt_port}"
    state = ("--state", folder / "kit")
    kit = start_homeside("agent", "--camera", video, *words, "--broker", broker, "--kit", KIT, *state)
    kit.wait_for_event("camera_opened", 60)
    return kit


def test_a_squat_is_seen_counted_and_kept(care: Care, chrome: Browser, data_dir: Path, tmp_path: Path) -> None:
    kit = start_kit(care, tmp_path, data_dir / "motion" / "squat_side_360x640.mp4", "--loop")
    session = care.create()["session_id"]
    complaints: list[str] = []
    page = sign_in(chrome, care, "smith", f"/app/session/{session}", viewport={"width": 1440, "height": 900})
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        expect(page.locator("#live-state")).to_have_text("Not live")
        page.get_by_label("Kit that sees the exercise").fill(KIT)
        page.get_by_role("button", name="Start").click()
        expect(page.locator("#live-state")).to_have_text("Live", timeout=60_000)
        expect(page.locator("#live-privacy")).to_contain_text("Only this skeleton leaves the home")
        expect(page.locator("#live-skeleton line").nth(9)).to_be_attached()
        expect(page.locator("#live-right")).to_have_text(re.compile(r"\d+°"))
        expect(page.locator("#live-rate")).to_contain_text("poses a second")
        lowest = page.evaluate(
            """() => new Promise((done) => {
              let low = 180
              const look = setInterval(() => {
                const now = parseFloat(document.getElementById('live-right').textContent)
                if (now < low) low = now
                if (document.getElementById('live-repetitions').textContent >= '2') {
                  clearInterval(look)
                  done(low)
                }
              }, 20)
            })"""
        )
        assert 55 < lowest < 95, "the knee at the bottom, in degrees"
        page.screenshot(path=tmp_path / "eyes-desk.png", full_page=True)
        john = sign_in(
            chrome, care, "john", f"/app/session/{session}", viewport={"width": 360, "height": 740}, color_scheme="dark"
        )
        expect(john.locator("#live-state")).to_have_text("Live")
        john.get_by_role("button", name="Show clear video for 30 minutes").click()
        expect(john.locator("#live-privacy")).to_contain_text("Clear video leaves the home")
        john.screenshot(path=tmp_path / "eyes-phone.png", full_page=True)
        assert john.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Show the skeleton only").click()
        expect(john.locator("#live-privacy")).to_contain_text("Only this skeleton")
        trail = (tmp_path / "kit" / "privacy.log").read_text().splitlines()
        assert len(trail) == 2
        assert '"to": "clear"' in trail[0]
        assert '"by": "patient ' in trail[0]
        page.get_by_role("button", name="End the recording").click()
        expect(page.locator("#live-state")).to_have_text("Not live")
    finally:
        assert kit.end() == 0
    page.reload()
    expect(page.locator("#curve rect.band").nth(1)).to_be_attached()
    upright = "0 0 0.5625 1"  # as the picture of 360 by 640
    expect(page.locator("#skeleton svg")).to_have_attribute("viewBox", upright)
    with care.as_("smith") as client:
        found = data_of(client.get(f"/api/sessions/{session}/timeline"))
        details = client.get(f"/api/sessions/{session}").json()
    assert found["summary"]["repetitions"] >= 2
    assert details["session"]["status"] == "review_pending"
    assert details["pose_data"]["sampling_rate"] > 3
    assert complaints == []
