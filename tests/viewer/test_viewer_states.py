"""Every state of the live page in words: waiting, stale, lost, refused, ended, and what can be done about it."""

from __future__ import annotations

import time
from uuid import uuid4

import numpy as np
import pytest

from tests.viewer.conftest import Open
from tests.viewer.looking import drawing, wait_state, wait_words, words
from tests.viewer.peer import Peer
from tests.viewer.signals import beats, grid
from tests.waiting import until

pytestmark = pytest.mark.browser


def now_ms() -> float:
    return time.time() * 1000


def test_waits_for_a_sensor_that_has_sent_nothing(peer: Peer, open_page: Open) -> None:
    room = peer.room(patient_present=False)
    page = open_page(f"/view/{room.id}")
    wait_state(page, "waiting")
    assert words(page, "#state") == "Waiting for the sensor"
    assert "nothing measures yet" in words(page, "#notice")
    assert words(page, "[data-reading=rate]") == "No reading"
    peer.say(room, "status_update", status="patient_connected", viewerCount=1)
    wait_words(page, "#notice-text", "has sent nothing yet")
    wait_words(page, "#log", "Kit or phone connected")
    room.stored = [(t, 0.0, 0.0, 9.8) for t in grid(now_ms(), 4)]
    page.get_by_role("button", name="Show what is stored").click()
    wait_words(page, "[data-review=length]", "4.0 s")


def test_says_since_when_a_silent_sensor_is_silent(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 10)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    wait_state(page, "stale")
    since = time.strftime("%H:%M:%S", time.localtime(t[-1] / 1000))
    assert words(page, "#state") == f"No signal since {since}"
    page.evaluate(
        """() => {
          window.said = []
          const region = document.getElementById('announcements')
          new MutationObserver(() => window.said.push(region.textContent)).observe(region, { childList: true })
        }"""
    )
    assert words(page, "[data-reading=rate]") == "No reading"
    peer.say(room, "status_update", status="patient_disconnected", viewerCount=1)
    wait_words(page, "#notice-text", "is not connected. It keeps what it measures meanwhile")
    wait_words(page, "#notice-head", "No signal for 3.")
    assert page.evaluate("window.said") == []
    more = grid(now_ms(), 1)
    peer.samples(room, more, beats(more))
    wait_state(page, "live")
    wait_words(page, "#log", "Signal is back")


def test_lost_connection_is_said_retried_and_recovered(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 10)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}", expect_failures=True)
    wait_state(page, "live")
    room.refuse = (1012, "")
    peer.drop(room)
    wait_state(page, "lost")
    assert words(page, "#state").startswith("Not connected since ")
    wait_words(page, "#notice-text", "Trying again in ")
    assert words(page, "[data-reading=rate]") == "No reading"
    tries = room.connections
    until(lambda: room.connections > tries, "more attempts")
    room.refuse = None
    page.get_by_role("button", name="Try now").click()
    wait_words(page, "#log", "Connected to the relay again")
    until(lambda: page.evaluate("document.body.dataset.state") != "lost", "the page to leave the state")
    assert page.locator("#log li", has_text="Connection to the relay lost").count() == 1


def test_half_dead_connection_is_noticed(peer: Peer, open_page: Open) -> None:
    room = peer.room()
    page = open_page(f"/view/{room.id}", expect_failures=True)
    wait_state(page, "waiting")
    page.clock.install()
    page.reload()
    until(lambda: room.connections == 2 and room.viewers, "the page to connect")
    wait_state(page, "waiting")
    room.answer_pings = False
    page.clock.fast_forward(6000)
    page.clock.fast_forward(6000)
    page.clock.fast_forward(2000)
    until(lambda: room.connections == 3, "a new connection in place of the silent one")


REFUSALS = {
    4401: ("The token has expired.", "Not allowed", "The relay says: The token has expired."),
    4403: ("This link is for another session.", "Not allowed", "Ask the person who sent it"),
    4404: ("Session not found", "No such session", "The link may be mistyped"),
    1008: ("A session's id is a UUID", "No such session", "Part of it may be missing"),
}


def test_refusals_are_final_and_said(peer: Peer, open_page: Open) -> None:
    opened = []
    for code, (reason, pill, text) in REFUSALS.items():
        room = peer.room(refuse=(code, reason))
        page = open_page(f"/view/{room.id}?token=abc")
        wait_state(page, "refused")
        assert words(page, "#state") == pill
        assert text in words(page, "#notice-text")
        assert room.queries[0] == {"role": "viewer", "with": "analysis", "token": "abc"}
        opened.append((code, room, page))
    page.evaluate("new Promise((done) => setTimeout(done, 700))")
    for code, room, page in opened:
        assert room.connections == 1
        if code != 1008:
            room.refuse = None
            page.get_by_role("button", name="Try again").click()
            wait_state(page, "waiting")


def test_unknown_session(peer: Peer, open_page: Open) -> None:
    page = open_page(f"/view/{uuid4()}")
    wait_state(page, "refused")
    assert words(page, "#state") == "No such session"


def test_stream_without_epoch_times_has_no_delay(peer: Peer, open_page: Open) -> None:
    t = grid(65_000, 20)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    assert words(page, "#state") == "Live · delay unknown"
    peer.say(room, "gap", **{"from": 61_000, "to": 62_000})
    wait_words(page, "#log", "1:02")


def test_clock_that_begins_anew_is_followed(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms() + 3_600_000, 20)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}")
    wait_words(page, "#state", "ahead")
    fresh = grid(now_ms(), 5)
    peer.samples(room, fresh, beats(fresh))
    wait_words(page, "#log", "The sensor’s clock began anew")
    page.get_by_role("button", name="Pause drawing").click()
    found = drawing(page, "#wave")
    assert found.end < t[0]
    assert not found.empty.all()


def test_ended_while_watched_shows_the_recording(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 10)
    room = peer.room(backlog=(t, beats(t)))
    room.stored = [(float(when), 0.0, 0.0, float(value)) for when, value in zip(t, beats(t), strict=True)]
    page = open_page(f"/view/{room.id}")
    wait_state(page, "live")
    peer.say(room, "status_update", status="session_ended", viewerCount=1)
    wait_state(page, "ended")
    wait_words(page, "[data-review=length]", "10 s")
    assert words(page, "#state").startswith("Ended ")
    assert page.locator("#live").is_hidden()
    until(lambda: not room.viewers, "the page to leave the room")
    wait_words(page, "#log", "Session ended")


def test_memory_stays_bounded_through_hours_of_samples(peer: Peer, open_page: Open) -> None:
    """Two hours at 100 Hz, as fast as they can be taken: the ring keeps its size, the lists stay short."""
    page = open_page("/")
    found = page.evaluate(
        """async () => {
          const { Ring } = await import('/static/ring.js')
          const { Spans } = await import('/static/spans.js')
          const { TrendData } = await import('/static/trend.js')
          const { History } = await import('/static/history.js')
          const ring = new Ring(9000, 25)
          const spans = new Spans()
          const trend = new TrendData()
          const list = document.createElement('ol')
          const history = new History(list)
          for (let t = 0; t < 7.2e6; t += 10) {
            ring.push(t, Math.sin(t))
            if (t % 1000 === 0) {
              spans.update([[t - 500, t]], t)
              spans.forgetBefore(ring.oldest)
              trend.take(t, 60)
              history.note(t, 'again', `key ${t}`)
            }
          }
          return [ring.size, ring.newest - ring.oldest, spans.list.length, trend.list.length, list.children.length]
        }"""
    )
    assert found[0] == 9000
    assert found[1] == pytest.approx(89_990)
    assert found[2] <= 100
    assert found[3] <= 301
    assert found[4] == 60


def test_says_the_heart_rate_aloud_at_most_each_ten_seconds(peer: Peer, open_page: Open) -> None:
    page = open_page("/")
    said = page.evaluate(
        """async () => {
          const { Announcer } = await import('/static/announce.js')
          const region = document.createElement('div')
          const said = []
          new MutationObserver(() => said.push(region.textContent)).observe(region, { childList: true })
          const announcer = new Announcer(region)
          announcer.state('Live')
          await null
          for (let second = 0; second < 40; second++) {
            announcer.rate(`Heart rate ${60 + second} per minute`, second * 1000)
            await null
          }
          await new Promise((done) => setTimeout(done, 0))
          return said
        }"""
    )
    assert said == ["Live", *(f"Heart rate {60 + second} per minute" for second in (0, 10, 20, 30))]


def test_sentence_for_every_reason_the_relay_gives(peer: Peer, open_page: Open) -> None:
    quality = pytest.importorskip("core.signals.quality", reason="core.signals is not here yet")
    page = open_page("/")
    known = page.evaluate("import('/static/state.js').then((m) => Object.keys(m.REASONS))")
    assert sorted(known) == sorted(reason.value for reason in quality.Reason)


def test_drawn_time_never_runs_backwards(peer: Peer, open_page: Open) -> None:
    """Bursts, a pause of 0.7 s and a late flood: the right edge glides, and comes back close to the newest sample."""
    rng = np.random.default_rng(5)
    arrivals, newest, clock = [], 0.0, 0.0
    for index in range(300):
        clock += float(rng.exponential(100)) if index != 100 else 700.0
        newest = max(newest + 10, clock - 60 - float(rng.exponential(15)))
        arrivals.append([newest, clock])
    page = open_page("/")
    edges = page.evaluate(
        """async (arrivals) => {
          const { Playout } = await import('/static/playout.js')
          const playout = new Playout()
          const edges = []
          let next = 0
          for (let now = 0; now < arrivals.at(-1)[1]; now += 16) {
            while (next < arrivals.length && arrivals[next][1] <= now) playout.arrived(...arrivals[next++])
            const edge = playout.edge(now)
            if (edge !== null) edges.push([now, edge, arrivals[next - 1][0]])
          }
          return edges
        }""",
        arrivals,
    )
    now, edge, newest_then = np.array(edges).T
    steps = np.diff(edge)
    assert steps.min() > 0.8 * 16
    assert steps.max() < 1.2 * 16 + 1e-6
    settled = now > now[-1] - 5000
    assert (newest_then - edge)[settled].min() > -150
    assert (now - edge)[settled].max() < 900
