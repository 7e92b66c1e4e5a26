"""The timer page in real Chromium, on a real relay: what it shows is what the relay counts, with or without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.contract.timers import P1, P2, Timers, client, short, signed
from tests.programs import RelayProgram
from tests.viewer.conftest import DESK, PHONE
from tests.viewer.looking import wait_words, words
from tests.waiting import until

pytestmark = pytest.mark.browser
READ = "() => { const d = document.querySelector('#left').dataset; return [Number(d.ms), Number(d.at)] }"


@pytest.fixture(scope="module")
def timers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timers]:
    relay = RelayProgram(tmp_path_factory.mktemp("relay"))
    with client(relay) as found:
        yield found
    relay.stop()


@pytest.fixture
def look(browser: Browser, timers: Timers) -> Iterator[Any]:
    """`look(session)`: a page of a screen of its own on that timer, ready."""
    contexts: list[BrowserContext] = []

    def open_(session: str, *, bearer: str | None = None, state: str = "live", **options: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": DESK, "color_scheme": "light", **options}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{timers.relay.http}/timer/{session}?token={bearer or timers.bearer}")
        until(lambda: page.evaluate("document.body.dataset.state") == state, f"the page to say {state}")
        return page

    yield open_
    for context in contexts:
        context.close()


def level(page: Page, wanted: str) -> None:
    until(lambda: page.evaluate("document.body.dataset.level") == wanted, f"the level {wanted}")


def end_ms(page: Page) -> float:
    """When this screen's clock will reach zero, by the machine's clock: left now, plus now."""
    left, at = page.evaluate(READ)
    return float(left + at)


def test_two_screens_and_the_relay_agree_to_20_ms(timers: Timers, look: Any) -> None:
    session = timers.started()
    desk, phone = look(session), look(session, viewport=PHONE)
    for page in (desk, phone):
        wait_words(page, "#clock", "±")
        page.wait_for_timeout(1200)
    state = timers.get(session)
    truth = state["server_time_ms"] + state["participants"][0]["total_time_ms"]
    ends = [end_ms(page) for page in (desk, phone) for _ in range(20)]
    assert max(ends) - min(ends) <= 20
    assert max(abs(end - truth) for end in ends) <= 20


def test_what_others_do_is_seen_at_once(timers: Timers, look: Any) -> None:
    session = timers.create()
    page = look(session)
    assert words(page, "#words") == "Not started"
    page.get_by_role("button", name="Start").click()
    wait_words(page, "#whose", P1)
    timers.post(session, "switch")
    wait_words(page, "#whose", P2)
    page.get_by_role("button", name="Pause").click()
    wait_words(page, "#words", "Paused")
    held = page.evaluate(READ)[0]
    page.wait_for_timeout(300)
    assert page.evaluate(READ)[0] == held == timers.times(session)[P2]
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Next").click()
    wait_words(page, "#whose", P1)


def test_warnings_by_colour_words_and_sound(timers: Timers, look: Any) -> None:
    session = timers.started(participants=short(9_000), warning_thresholds_ms={"low": 7000, "critical": 5000})
    page = look(session)
    page.get_by_role("button", name="Sound is off").click()
    wait_words(page, "#sound", "Sound is on")
    colours = []
    for wanted, said in (("low", "running low"), ("critical", "Almost over"), ("over", "Time is up")):
        level(page, wanted)
        wait_words(page, "#words", said)
        colours.append(page.evaluate("getComputedStyle(document.querySelector('.face')).backgroundColor"))
        assert said in (page.locator("#announcements").text_content() or "")
    assert len(set(colours)) == 3
    assert words(page, "#left") == "0:00"


def test_without_the_relay_it_counts_on_and_says_so(browser: Browser, tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    with client(relay) as timers:
        session = timers.started()
        page = browser.new_page()
        page.goto(f"{relay.http}/timer/{session}?token={timers.bearer}")
        wait_words(page, "#clock", "±")
        before = end_ms(page)
        relay.kill()
        wait_words(page, "#state", "Offline")
        wait_words(page, "#notice-text", "Counting on from the state of")
        page.wait_for_timeout(500)
        assert abs(end_ms(page) - before) <= 20
        again = relay.again()
        wait_words(page, "#state", "Live", 30)
        until(lambda: abs(end_ms(page) - before) <= 20, "the clock to be right again")
        page.close()
        assert again.stop() == 0


def test_a_closed_door_says_why(timers: Timers, look: Any) -> None:
    look("nobody", state="unknown")
    bound = signed(timers.relay, "viewer", session="another")
    look(timers.started(), bearer=bound, state="unknown")
    expired = signed(timers.relay, "admin", hours=-1)
    page = look(timers.started(), bearer=expired, state="refused")
    wait_words(page, "#notice-text", "expired")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_stumbles_and_nothing_spills(
    timers: Timers, look: Any, axe: str, scheme: str, viewport: Any, tmp_path: Path
) -> None:
    for first_ms, wanted in ((600_000, "fine"), (9_500, "low"), (4_500, "critical"), (1_000, "over")):
        page = look(timers.started(participants=short(first_ms)), color_scheme=scheme, viewport=viewport)
        level(page, wanted)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        page.evaluate(axe)
        found = page.evaluate("axe.run().then((result) => result.violations.map((one) => one.id + ': ' + one.help))")
        assert found == []


def test_the_number_fills_the_screen(timers: Timers, look: Any) -> None:
    page = look(timers.started())
    until(lambda: page.evaluate(READ)[0] > 0, "a number")
    box = page.locator("#left").bounding_box()
    assert box is not None
    assert box["height"] > DESK["height"] / 3
