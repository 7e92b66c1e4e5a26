"""How the pages look and feel: no sideways scrolling, nothing axe-core objects to, every control by keyboard."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.viewer.conftest import DESK, PHONE, Open
from tests.viewer.looking import wait_state, wait_words, words
from tests.viewer.peer import Peer, Room
from tests.viewer.signals import beats, grid
from tests.waiting import until

pytestmark = pytest.mark.browser

PAGES = ("start", "live", "waiting", "refused", "recorded", "measure")


def now_ms() -> float:
    return time.time() * 1000


def opened(name: str, peer: Peer, open_page: Open, **options: Any) -> Page:
    """The page called `name`, in the state called so."""
    t = grid(now_ms(), 20)
    stored = [(float(when), 0.0, 0.0, float(value)) for when, value in zip(t, beats(t), strict=True)]
    rooms = {
        "live": lambda: peer.room(backlog=(t, beats(t))),
        "waiting": lambda: peer.room(patient_present=False),
        "refused": lambda: peer.room(refuse=(4401, "The token has expired.")),
        "recorded": lambda: peer.room(ended_ms=now_ms(), stored=stored),
    }
    if name == "start":
        peer.room(backlog=(t, beats(t)))
        peer.room(ended_ms=now_ms())
        page = open_page("/", **options)
        until(lambda: page.locator("#live li").count(), "the list")
        return page
    if name == "measure":
        page = open_page("/measure", **options)
        until(lambda: page.locator("#start").is_enabled(), "the page to be ready")
        return page
    room: Room = rooms[name]()
    page = open_page(f"/view/{room.id}", **options)
    wait_state(page, "ended" if name == "recorded" else name)
    if name == "recorded":
        until(lambda: page.locator("[data-review=panel]").is_visible(), "the recording")
    return page


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("scheme", "viewport"), [("light", PHONE), ("dark", DESK)])
def test_fits_and_axe_finds_nothing(
    peer: Peer, open_page: Open, axe: str, name: str, scheme: str, viewport: dict[str, int]
) -> None:
    page = opened(name, peer, open_page, color_scheme=scheme, viewport=viewport)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= viewport["width"]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(251, 250, 247)" if scheme == "light" else "rgb(14, 20, 19)")
    page.evaluate(axe + "; undefined")
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize(
    ("name", "controls"),
    [
        ("start", {"measure", "open-id"}),
        ("live", {"wave", "pause", "log"}),
        ("recorded", {"closer", "wider", "all", "wave", "slider"}),
        ("measure", {"start"}),
    ],
)
def test_every_control_is_reached_by_keyboard_and_seen(
    peer: Peer, open_page: Open, name: str, controls: set[str]
) -> None:
    page = opened(name, peer, open_page)
    seen: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
              const at = document.activeElement
              const shown = at.matches('.choice input') ? at.nextElementSibling : at
              const style = getComputedStyle(shown)
              const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
              return { id: at.id || at.dataset.review || '', outlined, body: at === document.body }
            }"""
        )
        if focused["body"]:
            continue
        assert focused["outlined"], focused
        seen.add(focused["id"])
        if controls <= seen:
            return
    raise AssertionError(f"never reached {controls - seen}")


def test_start_page_lists_and_opens(peer: Peer, open_page: Open) -> None:
    live = peer.room(kit="ward-3", backlog=None)
    page = open_page("/?token=abc")
    until(lambda: page.locator(f"a[href='/view/{live.id}?token=abc']").count(), "the session in the list")
    entry = page.locator(f"a[href='/view/{live.id}?token=abc']")
    assert "Kit ward-3" in entry.inner_text()
    assert "Live" in entry.inner_text()
    assert words(page, "#state").endswith("live")
    page.get_by_label("Open a session").fill("nonsense")
    page.get_by_role("button", name="Open").click()
    wait_words(page, "#open-help", "That is no session id")
    page.get_by_label("Open a session").fill(f"https://elsewhere/view/{live.id.upper()}?token=xyz")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/view/{live.id}?token=xyz")


def test_start_page_without_permission_or_relay(peer: Peer, open_page: Open) -> None:
    page = open_page("/", expect_failures=True)
    peer.list_status = 403
    page.reload()
    wait_words(page, "#message", "The list of sessions is for staff.")
    peer.list_status = 500
    page.reload()
    wait_words(page, "#message", "The relay does not answer")
    peer.list_status = 200
    page.reload()
    until(lambda: "does not answer" not in words(page, "#message"), "the list to come back")
    page.get_by_label("Open a session").fill("https://elsewhere/timer/set-1?token=xyz")
    page.keyboard.press("Enter")
    page.wait_for_url("**/timer/set-1?token=xyz")


def test_less_motion_is_respected(peer: Peer, open_page: Open) -> None:
    t = grid(now_ms(), 20)
    room = peer.room(backlog=(t, beats(t)))
    page = open_page(f"/view/{room.id}", reduced_motion="reduce")
    peer.play(room, beats)
    wait_state(page, "live")
    ends = page.evaluate(
        """() => new Promise((done) => {
          const ends = new Set()
          const wave = document.getElementById('wave')
          const begun = performance.now()
          const look = () => {
            ends.add(wave.dataset.to)
            performance.now() - begun < 2200 ? requestAnimationFrame(look) : done(ends.size)
          }
          look()
        })"""
    )
    assert 2 <= ends <= 4


def test_colours_follow_the_scheme_while_watching(peer: Peer, open_page: Open) -> None:
    page = opened("live", peer, open_page)
    dark = "document.querySelector('#wave canvas').getContext('2d').strokeStyle"
    page.emulate_media(color_scheme="dark")
    until(
        lambda: page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 19)",
        "the page to turn dark",
    )
    reading = """() => {
      const canvas = document.querySelector('#wave canvas')
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
      let bright = 0
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200 && data[i] > 200 && data[i + 1] > 200) bright++
      return bright
    }"""
    until(lambda: page.evaluate(reading) > 500, f"light ink on dark ({dark})")
