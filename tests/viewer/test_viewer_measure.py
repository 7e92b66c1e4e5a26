"""The phone as a sensor, in Chromium with its virtual accelerometer: nothing measured is lost on its way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import Error as PlaywrightError

from tests.viewer.conftest import PHONE, Open
from tests.viewer.looking import drawing, wait_words, words
from tests.viewer.peer import Peer, Room
from tests.viewer.phone import Phone
from tests.waiting import until

pytestmark = pytest.mark.browser


@pytest.fixture
def phone(open_page: Open) -> Callable[..., Phone]:
    def open_phone(path: str = "/measure", **options: Any) -> Phone:
        return Phone(open_page(path, viewport=PHONE, **options))

    return open_phone


def assert_whole(room: Room, phone: Phone | None = None) -> list[dict[str, float]]:
    """Each boot's numbers are 1, 2, 3 …; times rise and leave no hole; values are those the sensor gave."""
    for boot in {boot for boot, _ in room.samples}:
        numbers = sorted(seq for other, seq in room.samples if other == boot)
        assert numbers == list(range(1, len(numbers) + 1))
    ordered = [room.samples[key] for key in sorted(room.samples, key=lambda key: room.samples[key][0]["t"])]
    samples = list(itertools.chain.from_iterable(ordered))
    times = [sample["t"] for sample in samples]
    assert all(b > a for a, b in itertools.pairwise(times))
    if phone is not None:
        assert {sample["az"] for sample in samples} <= {round(value, 6) for value in phone.given}
        assert {(sample["ax"], sample["ay"]) for sample in samples} == {(0.1, 0.2)}
    return samples


WATCH_SCREEN = """() => {
  window.asked = []
  navigator.wakeLock.request = async (kind) => {
    window.asked.push(kind)
    return Object.assign(new EventTarget(), { release() { window.asked.push('released') } })
  }
}"""


def test_measures_and_ends_cleanly(peer: Peer, phone: Callable[..., Phone]) -> None:
    mine = phone()
    mine.page.evaluate(WATCH_SCREEN)
    assert mine.page.locator(".steps li").count() == 3
    mine.start()
    room = peer.created[-1]
    assert mine.page.url.endswith(f"/measure/{room.id}")
    mine.for_(3)
    assert words(mine.page, "#watching") == "Nobody is watching yet"
    peer.say(room, "status_update", status="viewer_connected", viewerCount=1)
    wait_words(mine.page, "#watching", "1 person is watching")
    until(lambda: not drawing(mine.page, "#wave").empty.all(), "the phone's own line")
    assert mine.page.evaluate("window.asked") == ["screen"]
    assert words(mine.page, "#screen") == ""
    elapsed = words(mine.page, "#elapsed")
    assert elapsed in ("0:02", "0:03", "0:04")
    mine.page.locator("#finish").click()
    mine.wait_phase("done")
    assert room.ended_ms is not None
    assert words(mine.page, "#saved").endswith("All of it is stored.")
    device = room.received[0]
    assert device["type"] == "device"
    assert device["payload"]["unit"] == "m/s2"
    assert "Chrom" in device["payload"]["userAgent"]
    samples = assert_whole(room, mine)
    assert len(samples) > 60
    assert abs(samples[-1]["t"] - room.ended_ms) < 2000
    assert max(b["t"] - a["t"] for a, b in itertools.pairwise(samples)) < 1000
    first = [batch[0]["t"] for _, batch in sorted(room.samples.items(), key=lambda item: item[0][1])]
    steps = sorted(b - a for a, b in itertools.pairwise(first))
    assert 150 < steps[len(steps) // 2] < 400
    assert room.received[-1]["payload"]["clock"]["errorMs"] < 1000
    assert mine.page.evaluate("window.asked") == ["screen", "released"]
    assert mine.kept() == 0


def test_lost_connection_loses_nothing(peer: Peer, phone: Callable[..., Phone]) -> None:
    mine = phone(expect_failures=True)
    mine.start()
    room = peer.created[-1]
    mine.until(lambda: len(room.samples) > 5, "the first batches")
    room.refuse = (1012, "")
    peer.drop(room)
    mine.until(lambda: "Measuring offline" in words(mine.page, "#state"), "the page to notice")
    before = len(room.samples)
    mine.until(lambda: "safe on this phone" in words(mine.page, "#kept"), "what is kept to be told")
    mine.until(lambda: mine.page.locator("#notice").is_visible(), "the notice")
    assert "Go on lying still" in words(mine.page, "#notice")
    assert len(room.samples) == before
    room.refuse = None
    mine.page.get_by_role("button", name="Try now").click()
    mine.until(lambda: len(room.samples) > before + 10, "what was kept to arrive")
    mine.until(lambda: "All sent" in words(mine.page, "#kept"), "all to be acknowledged")
    samples = assert_whole(room, mine)
    assert max(b["t"] - a["t"] for a, b in itertools.pairwise(samples)) < 1000
    devices = [message for message in room.received if message["type"] == "device"]
    assert len(devices) == 2


def test_unacknowledged_is_kept_and_sent_again(peer: Peer, phone: Callable[..., Phone]) -> None:
    mine = phone()
    mine.start()
    room = peer.created[-1]
    mine.until(lambda: len(room.samples) > 3, "the first batches")
    room.acknowledge = False
    mine.until(lambda: len(room.held) >= 8, "batches that wait for their acknowledgement")
    mine.page.locator("#finish").click()
    mine.wait_phase("finishing")
    held = [(boot, seq) for _, boot, seq in room.held]
    until(lambda: max(room.times_sent[key] for key in held) > 1, "them to be sent again")
    assert room.ended_ms is None
    assert mine.kept() >= 8
    peer.release(room)
    mine.wait_phase("done")
    assert room.ended_ms is not None
    assert mine.kept() == 0
    assert_whole(room, mine)


def test_reload_loses_nothing_and_goes_on(peer: Peer, phone: Callable[..., Phone]) -> None:
    mine = phone(expect_failures=True)
    mine.start()
    room = peer.created[-1]
    mine.until(lambda: len(room.samples) > 3, "the first batches")
    room.refuse = (1012, "")
    peer.drop(room)
    mine.for_(2)
    kept = mine.kept()
    assert kept >= 5
    before = len(room.samples)
    mine.page.reload()
    room.refuse = None
    until(lambda: len(room.samples) >= before + kept, "what was kept to arrive after the reload")
    until(lambda: mine.kept() == 0, "the browser's database to be empty")
    assert words(mine.page, "#start") == "Go on measuring"
    mine.start()
    mine.until(lambda: len({boot for boot, _ in room.samples}) == 2, "samples of the second run")
    assert_whole(room, mine)


def test_finish_without_connection_is_finished_by_the_next_visit(peer: Peer, phone: Callable[..., Phone]) -> None:
    mine = phone(expect_failures=True)
    mine.start()
    room = peer.created[-1]
    room.refuse = (1012, "")
    peer.drop(room)
    mine.for_(1)
    mine.page.locator("#finish").click()
    mine.wait_phase("finishing")
    assert room.ended_ms is None
    room.refuse = None
    mine.page.goto(f"{peer.url}/measure")
    until(lambda: room.ended_ms is not None, "the session to be ended")
    assert_whole(room)
    until(lambda: mine.kept() == 0, "the browser's database to be empty")


def test_what_a_person_is_told_while_measuring(peer: Peer, phone: Callable[..., Phone]) -> None:
    """A screen that may sleep, a link to share, a session held by another, an end from elsewhere."""
    mine = phone(permissions=["clipboard-read", "clipboard-write", "accelerometer", "gyroscope"])
    mine.page.evaluate("() => { navigator.wakeLock.request = () => Promise.reject(new Error('no')) }")
    mine.start()
    room = peer.created[-1]
    assert "cannot keep the screen on" in words(mine.page, "#screen")
    mine.page.get_by_role("button", name="Share the link").click()
    wait_words(mine.page, "#shared", "The link is copied")
    assert mine.page.evaluate("navigator.clipboard.readText()") == f"{peer.url}/view/{room.id}"
    assert words(mine.page, ".link") == f"{peer.url}/view/{room.id}"
    mine.until(lambda: len(room.samples) > 3, "the first batches")
    room.acknowledge = False
    until(lambda: mine.page.locator("#kept").inner_text() == "All sent", "the last acknowledgement")
    taken = {"code": "SESSION_TAKEN", "message": "This session has its patient already"}
    peer.to_patient(room, {"type": "error", "payload": taken})
    mine.until(lambda: mine.page.locator("#notice").is_visible(), "the notice")
    assert "Another device still holds this session" in words(mine.page, "#notice")
    mine.until(lambda: room.held, "a batch to acknowledge")
    peer.release(room)
    mine.until(lambda: mine.page.locator("#notice").is_hidden(), "the notice to go")
    peer.say(room, "status_update", status="session_ended", viewerCount=0)
    mine.wait_phase("done")
    assert words(mine.page, "#saved").endswith("The session was ended from elsewhere. All of it is stored.")
    assert_whole(room, mine)


def test_refuses_in_words(peer: Peer, open_page: Open) -> None:
    """No secure page, no permission, no sensor: each is said with its remedy, and nothing is created."""
    made = len(peer.created)
    insecure = open_page("/measure", viewport=PHONE, expect_failures=True)
    insecure.goto(f"http://homeside.test:{peer.port}/measure")
    until(lambda: insecure.locator("#start").is_enabled(), "the page to be ready")
    insecure.locator("#start").click()
    wait_words(insecure, "#start-failure-text", "homeside relay --tls")
    denied = open_page("/measure", viewport=PHONE)
    until(lambda: denied.locator("#start").is_enabled(), "the page to be ready")
    denied.evaluate("DeviceMotionEvent.requestPermission = async () => 'denied'")
    denied.locator("#start").click()
    wait_words(denied, "#start-failure-head", "The motion sensor is not allowed")
    without = open_page("/measure", viewport=PHONE)
    until(lambda: without.locator("#start").is_enabled(), "the page to be ready")
    without.locator("#start").click()
    wait_words(without, "#start-failure-head", "The motion sensor says nothing")
    assert len(peer.created) == made


def test_placement_is_judged(open_page: Open) -> None:
    page = open_page("/")
    found = page.evaluate(
        """async () => {
          const { Placement, advice } = await import('/static/placement.js')
          const judge = (hz, make) => {
            const placement = new Placement()
            for (let i = 0; i < hz * 3; i++) placement.take((i * 1000) / hz, ...make(i / hz))
            return { ...placement.verdict, words: advice(placement.verdict).map((line) => line.words) }
          }
          const beat = (s) => 0.2 * Math.sin(40 * s) * Math.exp(-10 * (s % 0.9))
          return {
            good: judge(100, (s) => [0.113, 0.127, 9.7312 + beat(s)]),
            upright: judge(100, (s) => [0.113, 9.61, 0.5312 + beat(s)]),
            faceDown: judge(100, (s) => [0.113, 0.1234, -9.7312 + beat(s)]),
            shaken: judge(100, (s) => [0.113, 0.1, 9.7312 + 2 * Math.sin(9 * s)]),
            slow: judge(20, (s) => [0.113, 0.127, 9.7312 + beat(s)]),
            coarse: judge(60, (s) => [0.1, 0.1, Math.round(10 * (9.7312 + beat(s))) / 10]),
          }
        }"""
    )
    judged = {name: (it["fast"], it["flat"], it["still"], it["coarse"]) for name, it in found.items()}
    assert judged == {
        "good": (True, True, True, False),
        "upright": (True, False, True, False),
        "faceDown": (True, False, True, False),
        "shaken": (True, True, False, False),
        "slow": (False, True, True, False),
        "coarse": (True, True, True, True),
    }
    assert found["good"]["rateHz"] == pytest.approx(100, rel=0.02)
    assert "rounds what the sensor says to 0.1 m/s²" in found["coarse"]["words"][-1]


def test_outbox_is_bounded_and_counts_what_it_drops(open_page: Open) -> None:
    page = open_page("/")
    found = page.evaluate(
        """async () => {
          const { Outbox } = await import('/static/outbox.js')
          const outbox = new Outbox(null, 1000)
          for (let seq = 1; seq <= 30; seq++) {
            outbox.add({ session: 's', boot: 'b', seq, samples: 20, body: 'x'.repeat(100) })
          }
          const kept = [...outbox].map((batch) => batch.seq)
          outbox.acknowledge('b', [[21, 25], [28, 28]])
          outbox.acknowledge('other', [[1, 99]])
          return { kept, dropped: outbox.dropped, left: [...outbox].map((batch) => batch.seq), samples: outbox.samples }
        }"""
    )
    assert found == {
        "kept": list(range(21, 31)),
        "dropped": 400,
        "left": [26, 27, 29, 30],
        "samples": 80,
    }


def test_axes_have_one_sign_on_every_phone(open_page: Open) -> None:
    page = open_page("/")
    agents = {
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15": (-1, 5),
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.5": (-1, 5),
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/126": (1, 0),
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/126 Mobile": (1, 5),
    }
    for agent, (sign, touches) in agents.items():
        found = page.evaluate("([a, n]) => import('/static/sensor.js').then((m) => m.axisSign(a, n))", [agent, touches])
        assert found == sign
    with suppress(PlaywrightError):
        page.close()
