"""An ended session's recording: all of it, where its samples are, at every zoom."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.viewer.conftest import Open
from tests.viewer.looking import assert_drawn, drawing, wait_state, wait_words, words
from tests.viewer.peer import Peer, Room
from tests.viewer.signals import Floats, beats, drawn
from tests.waiting import until

pytestmark = pytest.mark.browser

WAVE = "[data-review=wave]"


def stored_room(peer: Peer, seconds: float, rate_hz: float = 98.7) -> tuple[Room, Floats, Floats]:
    """An ended session with a sensor's own uneven times and a gap of two seconds in the middle."""
    began = (time.time() - 3600) * 1000
    rng = np.random.default_rng(3)
    t = began + np.arange(0, seconds * 1000, 1000 / rate_hz)
    t += rng.uniform(-1, 1, len(t))
    half = began + seconds * 500
    t = t[(t < half) | (t > half + 2000)]
    t = np.round(t, 3)
    raw = beats(t)
    stored = [(float(when), 0.0, 0.0, round(float(value), 6)) for when, value in zip(t, raw, strict=True)]
    return peer.room(started_ms=began, ended_ms=began + seconds * 1000, stored=stored), t, raw


def assert_line(page: Page, t: Floats, value: Floats, *, thinned: bool = False) -> None:
    """The line is where the samples are, and nothing is where none are."""
    found = drawing(page, WAVE)
    times = found.times()
    pixel = (found.end - found.start) / found.width
    inside = (times > max(t[0], found.start) + 3 * pixel) & (times < min(t[-1], found.end) - 3 * pixel)
    for start, end in ((a, b) for a, b in itertools.pairwise(t) if b - a > 100):
        inside &= (times < start - 3 * pixel) | (times > end + 3 * pixel)
        hollow = (times > start + 3 * pixel) & (times < end - 3 * pixel)
        assert drawing(page, WAVE, below=24).empty[hollow].all()
    assert inside.sum() > 0.7 * found.width
    assert_drawn(found, t, value, inside, thinned=thinned)


def test_ended_session_shows_what_was_stored(peer: Peer, open_page: Open) -> None:
    room, t, raw = stored_room(peer, 60)
    page = open_page(f"/view/{room.id}")
    wait_state(page, "ended")
    wait_words(page, "[data-review=length]", "1 min 00 s")
    assert words(page, "[data-review=gaps]") == "1"
    assert words(page, "[data-review=missing]").startswith("2.0 s missing")
    assert_line(page, t, drawn(t, raw))
    page.locator(WAVE).focus()
    for key, expected in (("ArrowRight", 2500), ("ArrowLeft", 0), ("End", 50_000)):
        page.keyboard.press(key)
        found = drawing(page, WAVE)
        assert found.start - t[0] == pytest.approx(expected, abs=30)
        assert_line(page, t, drawn(t, raw))
    page.keyboard.press("Home")
    page.keyboard.press("-")
    found = drawing(page, WAVE)
    assert found.end - found.start == pytest.approx(20_000)
    page.get_by_role("button", name="Closer").click()
    assert (found := drawing(page, WAVE)).end - found.start == pytest.approx(10_000)


def test_all_of_a_long_recording_keeps_its_peaks_and_its_gap(peer: Peer, open_page: Open) -> None:
    room, t, raw = stored_room(peer, 900)
    page = open_page(f"/view/{room.id}")
    wait_words(page, "[data-review=length]", "15 min 00 s")
    page.get_by_role("button", name="All of it").click()
    until(lambda: (d := drawing(page, WAVE)).end - d.start > 890_000, "all of it to be drawn")
    assert page.get_by_role("button", name="Wider").is_disabled()
    assert_line(page, t, drawn(t, raw), thinned=True)
    slider = page.get_by_role("slider")
    page.get_by_role("button", name="Closer").click()
    slider.focus()
    page.keyboard.press("End")
    assert drawing(page, WAVE).end == pytest.approx(t[-1])


def test_dragging_moves_along(peer: Peer, open_page: Open) -> None:
    room, t, _ = stored_room(peer, 60)
    page = open_page(f"/view/{room.id}")
    wait_words(page, "[data-review=length]", "1 min 00 s")
    box = page.locator(WAVE).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 100)
    page.mouse.up()
    assert drawing(page, WAVE).start - t[0] == pytest.approx(5000, abs=30)


def test_nothing_stored_is_said(peer: Peer, open_page: Open) -> None:
    room = peer.room(ended_ms=time.time() * 1000)
    page = open_page(f"/view/{room.id}")
    wait_words(page, "[data-review=message]", "Nothing was stored in this session")
    assert page.locator("[data-review=panel]").is_hidden()


def test_reads_a_recording_cut_at_any_byte(peer: Peer, open_page: Open) -> None:
    """The stream may be cut anywhere: inside a number, between brackets, inside the head."""
    head: dict[str, Any] = {
        "version": "0.2",
        "sessionId": "x",
        "device": {"platform": '[a],"samples": no'},
        "unit": "m/s2",
    }
    rows = [[1000.5, 0.1, 0.2, 9.8], [1010, None, None, 9.9], [1020.25, 0, 0, None], [1030, 0, 0, -1.5e-3]]
    text = json.dumps({**head, "samples": rows}, separators=(",", ":"))
    page = open_page("/")
    found = page.evaluate(
        """async (text) => {
          const { Recording, readSession } = await import('/static/recording.js')
          const bytes = new TextEncoder().encode(text)
          const all = []
          for (let cut = 0; cut <= bytes.length; cut++) {
            const body = new ReadableStream({
              start(controller) {
                for (const part of [bytes.slice(0, cut), bytes.slice(cut)]) if (part.length) controller.enqueue(part)
                controller.close()
              },
            })
            const recording = new Recording()
            const head = await readSession(new Response(body), recording)
            all.push([recording.size, recording.from, recording.to, head.unit, head.device.platform])
          }
          return all
        }""",
        text,
    )
    assert len(found) == len(text.encode()) + 1
    assert all(one == [3, 1000.5, 1030, "m/s2", head["device"]["platform"]] for one in found)


def test_what_exceeds_the_bound_is_counted(peer: Peer, open_page: Open) -> None:
    page = open_page("/")
    found = page.evaluate(
        """async () => {
          const { Recording } = await import('/static/recording.js')
          const recording = new Recording(20000)
          for (let i = 0; i < 25000; i++) recording.push(i, 1)
          return [recording.size, recording.left]
        }"""
    )
    assert found == [20_000, 5_000]
