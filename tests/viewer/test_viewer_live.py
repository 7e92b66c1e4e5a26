"""The live heart in real Chromium: what is drawn is what was sent, and the words say what is so."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.viewer.conftest import Open
from tests.viewer.looking import Drawing, assert_drawn, drawing, wait_state, wait_words, words
from tests.viewer.peer import Peer
from tests.viewer.signals import GRAVITY, beats, drawn, grid, recorded
from tests.waiting import until

pytestmark = pytest.mark.browser

PEN_MS = 80
"""Before the newest sample: the pen's red dot lies over the ink there."""
LABELS_PX = 24
"""Where gaps and movements are named, at the top of the drawing."""


def now_ms() -> float:
    return time.time() * 1000


def analysis(t: float, **changes: Any) -> dict[str, Any]:
    rate = {"bpm": 68.2, "quality": 0.83, "reason": "good", "beatMs": 882.0, "beatSdMs": 31.0}
    rate |= {key: changes.pop(key) for key in list(changes) if key in rate}
    return {
        "t": int(t),
        "heartRate": rate,
        "breathing": {"perMinute": 14.2},
        "motion": [],
        "serverTime": now_ms(),
        "delayMs": 120.0,
        "clockErrorMs": 2.1,
        **changes,
    }


def paused(page: Page) -> Drawing:
    """Stop the drawing, and read it."""
    page.get_by_role("button", name="Pause drawing").click()
    settled_half(page)
    return drawing(page, "#wave")


def settled_half(page: Page) -> float:
    """The scale once it has stopped moving."""

    def settled() -> float | None:
        first = page.evaluate("document.getElementById('wave').dataset.half")
        page.evaluate("new Promise((done) => setTimeout(done, 200))")
        return float(first) if first == page.evaluate("document.getElementById('wave').dataset.half") else None

    return float(until(settled, "the scale to settle"))


def test_draws_a_real_recording_where_its_samples_are(peer: Peer, open_page: Open) -> None:
    clock, az = recorded()
    t = grid(now_ms(), 30)
    raw = GRAVITY + az[: len(t)]
    assert len(clock) >= len(t)
    room = peer.room(backlog=(t, raw))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    found = paused(page)
    inside = (found.times() > found.times()[3]) & (found.times() < t[-1] - PEN_MS)
    assert inside.sum() > 0.6 * found.width
    sent = np.abs(drawn(t, raw)[-1000:])
    assert_drawn(found, t, drawn(t, raw), inside)
    assert np.percentile(sent, 99.5) < found.half < 8 * np.percentile(sent, 99.5)


def test_gap_is_left_empty_between_dashed_borders(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 30)
    start, end = t[-600], t[-520]
    kept = (t <= start) | (t >= end)
    room = peer.room(backlog=(t[kept], beats(t[kept])))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    peer.say(room, "gap", **{"from": float(start), "to": float(end)})
    wait_words(page, "#log", "Gap of 0.8 s: not received")
    found = paused(page)
    times = found.times()
    within = (times > start + 25) & (times < end - 25)
    assert within.sum() > 50
    assert drawing(page, "#wave", below=LABELS_PX).empty[within].all()
    assert_drawn(found, t[kept], drawn(t[kept], beats(t[kept])), (times < start - 25) & (times > times[3]))
    assert_drawn(found, t[kept], drawn(t[kept], beats(t[kept])), (times > end + 25) & (times < t[-1] - PEN_MS))
    borders = drawing(page, "#wave", "anything")
    column = int((start - found.start) / (found.end - found.start) * found.width)
    assert np.any(borders.bottom[column - 2 : column + 3] - borders.top[column - 2 : column + 3] > 0.8 * found.height)
    assert "1 gap: 0.8 s not received" in words(page, "#legend-gap")


def test_movement_is_drawn_doubtful_and_said(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 30)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    start, end = t[-700], t[-400]
    peer.say(
        room, "analysis", **analysis(t[-1], bpm=None, reason="motion", quality=0.1, motion=[[float(start), float(end)]])
    )
    wait_words(page, "#log", "Movement, 3.0 s: not counted")
    found = paused(page)
    times = found.times()
    inside = (times > start + 30) & (times < end - 30)
    beside = (times > times[3]) & (times < start - 30)
    assert drawing(page, "#wave", below=LABELS_PX).empty[inside].all()
    doubtful = drawing(page, "#wave", "doubt")
    assert (~doubtful.empty[inside]).mean() > 0.98
    assert_drawn(found, t, drawn(t, beats(t)), beside)
    assert words(page, "#legend-doubt") == "movement: not counted"
    assert words(page, "[data-reading=rate]") == "No reading"
    assert words(page, "[data-reading=why]") == "The patient or the sensor is moving, and that hides the heartbeat."


def test_numbers_have_units_and_age(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 20)
    room = peer.room(backlog=(t, beats(t)), started_ms=now_ms() - 60_000)
    page = open_page(f"/view/{room.id}")
    peer.play(room, beats)
    wait_state(page, "live")
    peer.say(room, "analysis", **analysis(t[-1]))
    wait_words(page, "[data-reading=rate]", "68")
    text = " ".join(words(page, "#readings").split())
    for expected in ("68 per minute", "measured now", "882 ms ± 31", "14 per minute", "Good", "± 2.1 ms"):
        assert expected in text
    assert "Kit bedside-01 · ADXL355 · 400 Hz" in text
    assert "1 person watching" in text
    assert float(page.locator("meter").get_attribute("value") or page.locator("meter").input_value()) == 0.83
    wait_words(page, "[data-reading=why]", "s ago")
    wait_words(page, "[data-reading=rate]", "No reading")


def test_delay_is_what_it_is(peer: Peer, open_page: Open) -> None:
    room = peer.room()
    page = open_page(f"/view/{room.id}")
    until(lambda: room.viewers, "the page to connect")
    peer.play(room, beats, late_ms=2400)
    pill = wait_words(page, "#state", "s behind", 15)
    behind = float(pill.split("·")[1].split()[0])
    assert 2.4 <= behind < 4.4


def test_reconnects_and_resumes_without_doubling(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 20)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}", expect_failures=True)
    wait_state(page, "live")
    later = grid(t[-1] + 3000, 23)
    room.backlog = (later, beats(later))
    peer.drop(room)
    until(lambda: room.connections == 2 and room.viewers, "the page to come back")
    wait_words(page, "#log", "Connected to the relay again")
    wait_state(page, "live")
    found = paused(page)
    inside = (found.times() > found.times()[3]) & (found.times() < min(later[-1], found.end) - PEN_MS)
    assert inside.sum() > 0.6 * found.width
    assert_drawn(found, later, drawn(np.union1d(t, later), beats(np.union1d(t, later)))[-len(later) :], inside)
    assert "0 gap" not in words(page, "#legend-gap")
    assert page.locator("#legend-gap").is_hidden()


def test_pause_stands_still_while_samples_come(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 30)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    page.locator("#wave").focus()
    page.keyboard.press("Space")
    settled_half(page)
    before = drawing(page, "#wave")
    more = np.arange(t[-1] + 10, t[-1] + 60_000, 10.0)
    peer.samples(room, more, beats(more) + 0.5)
    wait_words(page, "#paused", "The session goes on.")
    wait_words(page, "#state", "sensor's clock")
    after = drawing(page, "#wave")
    assert np.array_equal(before.top, after.top)
    assert (before.start, before.end) == (after.start, after.end)
    page.keyboard.press("Space")
    until(lambda: drawing(page, "#wave").end > before.end + 20_000, "the drawing to go on")


def test_window_is_chosen_by_mouse_and_by_key(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 30)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    page.locator("input[value='30000']").check()
    assert words(page, "#across").startswith("30 s across")
    page.locator("#wave").focus()
    page.keyboard.press("5")
    assert words(page, "#across").startswith("5 s across")
    found = paused(page)
    assert found.end - found.start == pytest.approx(5000)
    assert page.locator("input[value='5000']").is_checked()
    page.locator("input[value='5000']").focus()
    page.keyboard.press("ArrowRight")
    assert words(page, "#across").startswith("10 s across")


def test_scale_does_not_jump_for_a_jolt(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 20)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    half = settled_half(page)
    more = np.arange(t[-1] + 10, t[-1] + 1500, 10.0)
    jolted = beats(more)
    jolted[70:75] += 6.0
    peer.samples(room, more, jolted)
    until(
        lambda: page.evaluate("Number(document.getElementById('wave').dataset.to)") > more[90], "the jolt to be drawn"
    )
    assert settled_half(page) == half


def test_trend_draws_the_rates_given_and_breaks_where_none_was(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 10)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    seconds = np.arange(-299, 1)
    rates = 70 + 8 * np.sin(seconds / 40)
    for second, rate in zip(seconds, rates, strict=True):
        bpm = None if -120 < second < -90 else float(rate)
        peer.say(room, "analysis", **analysis(t[-1] + second * 1000, bpm=bpm))
    until(lambda: page.evaluate("Number(document.getElementById('trend').dataset.to)") == t[-1], "the last rate")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found = drawing(page, "#trend", "heart")
    low, high = (float(page.locator("#trend").get_attribute(f"data-{key}") or "nan") for key in ("low", "high"))
    at = (found.times() - t[-1]) / 1000
    expected = (high - np.interp(at, seconds, rates)) / (high - low) * found.height
    middle = (found.top + found.bottom) / 2
    known = ((at > -297) & (at < -122)) | ((at > -88) & (at < -2))
    assert np.abs(middle - expected)[known].max() <= 2.5
    assert found.empty[(at > -118) & (at < -93)].all()


def test_draws_at_sixty_frames_with_little_work(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 30)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    page.evaluate(
        """() => {
          window.work = []
          const real = window.requestAnimationFrame.bind(window)
          window.requestAnimationFrame = (callback) => real((time) => {
            const begun = performance.now()
            callback(time)
            window.work.push(performance.now() - begun)
          })
        }"""
    )
    peer.play(room, beats)
    page.locator("input[value='30000']").check()
    work = until(lambda: len(found := page.evaluate("window.work")) > 150 and found, "150 frames")
    assert float(np.median(work[20:])) < 8
    assert page.evaluate("Number(document.getElementById('wave').dataset.to)") > t[-1]
