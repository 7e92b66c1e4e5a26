"""A real recording, replayed by an agent through a relay and seen in Chromium: the ink is where the recording is."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser
from scipy.interpolate import CubicSpline
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from core.contracts.recordings import parse_recording
from tests.peers import start_homeside
from tests.programs import RelayProgram
from tests.viewer.conftest import DESK, browser
from tests.viewer.looking import drawing, wait_state, wait_words
from tests.viewer.signals import drawn
from tests.waiting import until

__all__ = ["browser"]
pytestmark = pytest.mark.browser
WATCHED_S = 12
WITHIN_PX = 4
"""The ink is 1.6 px wide, and a stroke shows in the columns beside it as well."""


def test_what_was_recorded_is_what_is_drawn(tmp_path: Path, data_dir: Path, browser: Browser) -> None:
    file = data_dir / "scg" / "mscardio" / "s0067r001.csv.gz"
    relay = RelayProgram(tmp_path / "relay")
    words = ("--replay", file, "--broker", f"mqtt://127.0.0.1:{relay.mqtt_port}", "--kit", "replay")
    agent = start_homeside("agent", *words, "--state", tmp_path / "kit")
    try:
        session = agent.wait_for_event("session_started")["session"]
        relay.child.wait_for_event("session_created")
        page = browser.new_page(viewport=DESK)
        page.goto(f"{relay.http}/view/{session}")
        wait_state(page, "live", 20)
        wait_words(page, "body", "per minute", 30)
        until(lambda: page.evaluate("+document.getElementById('wave').dataset.to") > 0, "a drawing")
        page.wait_for_timeout(1000 * WATCHED_S)
        page.get_by_role("button", name="Pause drawing").click()
        page.wait_for_timeout(1500)
        found = drawing(page, "#wave")
        stored = httpx.get(f"{relay.http}/api/v1/sessions/{session}/data", timeout=30).json()["samples"]
    finally:
        agent.end()
        assert relay.stop() == 0
    recording = parse_recording(file.read_bytes(), file.name)
    t0 = stored[0]["t"]
    clock, z = recording.t_ms - recording.t_ms[0] + t0, recording.xyz[:, 2]
    grid = np.arange(np.ceil(clock[0] / 10) * 10, stored[-1]["t"] - 100, 10.0)
    expected = drawn(grid, CubicSpline(clock, z)(grid))
    top, bottom = found.expected(grid, expected)
    times = found.times()
    inside = (times > max(found.start, t0 + 4000) + 50) & (times < min(found.end, grid[-1]) - 50)
    assert inside.sum() > 0.6 * found.width
    assert not found.empty[inside].any()
    top, bottom = (np.clip(rows, 0, found.height - 1) for rows in (top, bottom))
    covers = (found.top <= top + WITHIN_PX) & (found.bottom >= bottom - WITHIN_PX)
    reaches = (found.top >= minimum_filter1d(top, 3) - WITHIN_PX) & (
        found.bottom <= maximum_filter1d(bottom, 3) + WITHIN_PX
    )
    assert covers[inside].mean() > 0.98
    assert reaches[inside].mean() > 0.98
    page.close()
