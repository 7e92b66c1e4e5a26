"""A patient squats, a physiotherapist looks and reviews, the patient reads it: through the pages, on both databases."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.contract.care import BEGAN, PASSWORD, Care, data_of
from tests.peers_postgres import Postgres
from tests.physio.filmed import frames_of
from tests.physio.squatting import frames

pytestmark = pytest.mark.browser
FOUND = "axe.run().then((result) => result.violations.map((one) => one.id + ': ' + one.help))"
SIZES = {"desk": (1440, 900), "phone": (360, 740)}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def care(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    server = Postgres() if request.param == "postgresql" else None
    if server is not None:
        server.start()
    running = Care(tmp_path_factory.mktemp(f"walk-{request.param}"), request.param, server)
    yield running
    assert running.relay.stop() == 0
    assert not running.relay.faults()
    if server is not None:
        server.remove()


@pytest.fixture(scope="module")
def chrome(chromium: dict[str, Any]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(**chromium)
        yield running
        running.close()


@pytest.fixture(scope="module")
def video(data_dir: Path) -> Path:
    return data_dir / "motion" / "squat_side_360x640.mp4"


@pytest.fixture(scope="module")
def filmed(video: Path) -> list[dict[str, Any]]:
    return frames_of(video, "squat_front")


class Person:
    """Somebody at a browser of their own. Whatever a page complains of fails the test."""

    def __init__(self, chrome: Browser, care: Care, axe: str, size: str = "desk") -> None:
        width, height = SIZES[size]
        self.axe = axe
        self.context = chrome.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.base = care.relay.http

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        self.page.goto(f"{self.base}/app/")
        self.page.get_by_label("E-mail address").fill(f"{name}@example.org")
        self.page.get_by_label("Password").fill(password)
        self.page.keyboard.press("Enter")

    def until(self, found: Callable[[Any], bool], script: str) -> None:
        """Asked from outside: a page's own policy lets nobody evaluate texts in it."""
        deadline = time.monotonic() + 60
        while not found(seen := self.page.evaluate(script)):
            assert time.monotonic() < deadline, f"{script}: {seen}"
            self.page.wait_for_timeout(50)

    def shot(self, folder: Path, name: str) -> None:
        """The page as it is, in light and in dark; neither wider than the screen, nor anything for axe-core to find."""
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True)
            self.page.evaluate(self.axe)
            found = self.page.evaluate(FOUND)
            assert found == [], f"{name}, {scheme}"
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} px wider than the screen"

    def leave(self) -> None:
        self.context.close()
        assert self.complaints == []


def test_squat_review_and_what_the_patient_reads(care: Care, chrome: Browser, axe: str, tmp_path: Path) -> None:
    created = care.create()
    with care.as_("john") as client:
        body = {"frames": frames(BEGAN, squats=4, uneven=0.35)}
        taken = data_of(client.post(created["upload_urls"]["metadata"], json=body))
        assert taken["frames_stored"] == len(body["frames"])
        found = data_of(client.get(f"/api/sessions/{created['session_id']}/timeline"))
    assert found["summary"]["repetitions"] == 4
    assert {issue["type"] for issue in found["issues"]} >= {"ASYMMETRY_WARNING"}

    smith = Person(chrome, care, axe)
    smith.sign_in("smith", "not the password")
    expect(smith.page.get_by_role("alert")).to_contain_text("password is wrong")
    smith.shot(tmp_path, "sign-in")
    smith.sign_in("smith")
    smith.page.wait_for_url("**/app/patients")
    expect(smith.page.locator("#waiting")).to_contain_text("John Doe: squat")
    expect(smith.page.locator("#patients")).to_contain_text("1 session, last")
    smith.shot(tmp_path, "patients")
    smith.page.get_by_role("link", name="John Doe: squat").first.click()
    expect(smith.page.locator("#facts")).to_contain_text("Repetitions4")
    expect(smith.page.locator("#facts")).to_contain_text("left 35 % more")
    assert smith.page.locator("#curve rect.band").count() == 4
    expect(smith.page.locator("#skeleton line")).to_have_count(14)
    smith.page.locator("#findings button").first.click()
    at = smith.page.locator("#moment").text_content()
    smith.page.get_by_role("slider", name="Moment").focus()
    smith.page.keyboard.press("ArrowRight")
    expect(smith.page.locator("#moment")).not_to_have_text(at or "")
    smith.page.get_by_role("radio", name="Fair").check()
    smith.page.get_by_label("Notes").fill("Good depth. Load both legs.")
    smith.page.get_by_label("What you saw").fill("Weight on the left")
    smith.page.get_by_label("What to do").fill("Press evenly")
    smith.page.get_by_role("button", name="Add the remark").click()
    smith.page.get_by_label("What you saw").fill("Said by mistake")
    smith.page.keyboard.press("Enter")
    expect(smith.page.locator("#remarks li")).to_have_count(2)
    smith.page.get_by_role("button", name="Remove the remark").last.click()
    expect(smith.page.locator("#remarks")).to_contain_text("Weight on the left. Press evenly")
    expect(smith.page.locator("#remarks li")).to_have_count(1)
    smith.page.get_by_role("checkbox", name="glute bridge").check()
    smith.page.get_by_label("How often").fill("3 times per week")
    smith.page.get_by_label("Seen again on").fill("2030-02-06T10:30")
    smith.page.get_by_label("What you saw").fill("Heels lift")
    smith.shot(tmp_path, "session")
    smith.page.get_by_role("button", name="Send the review").click()
    expect(smith.page.locator("#given")).to_contain_text("Fair, by Smith Doe")
    expect(smith.page.locator("#given")).to_contain_text("Heels lift")
    expect(smith.page.locator("#given")).to_contain_text(
        "glute bridge; 3 times per week; seen again 6 February 2030 10:30"
    )
    smith.page.goto(f"{smith.base}/app/progress/{care.patient_id('john')}")
    expect(smith.page.locator("table").first).to_contain_text("4")
    expect(smith.page.locator("#exercises")).to_contain_text("1 of 1 planned session done, 100 %")
    assert smith.page.locator("#exercises rect.done").count() == 1
    assert smith.page.locator("#exercises path.dots").count() == 4
    smith.shot(tmp_path, "progress")
    smith.page.get_by_role("button", name="Sign out").click()
    smith.page.wait_for_url("**/app/")
    smith.page.goto(f"{smith.base}/app/patients")
    smith.page.wait_for_url("**/app/?next=*")
    smith.leave()

    john = Person(chrome, care, axe, "phone")
    john.sign_in("john")
    john.page.wait_for_url("**/app/me")
    expect(john.page.locator("#sessions")).to_contain_text("Reviewed")
    john.shot(tmp_path, "me")
    with john.page.expect_download() as saved:
        john.page.get_by_role("button", name="Save my data").click()
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert len(archive.read(f"sessions/{created['session_id']}/frames.ndjson").splitlines()) == len(body["frames"])
    john.page.get_by_role("link", name="squat").first.click()
    john.page.locator("#given button", has_text="Weight on the left. Press evenly").click()
    expect(john.page.locator("#moment")).not_to_contain_text("0.00 s")
    expect(john.page.locator("#form")).to_be_hidden()
    before = john.page.locator("#moment").text_content() or ""
    john.page.get_by_role("button", name="Play").click()
    expect(john.page.locator("#moment")).not_to_have_text(before)
    john.page.get_by_role("button", name="Stop").click()
    john.shot(tmp_path, "session-phone")
    john.leave()


def test_who_is_signed_in_is_not_asked_again_and_tabs_share_it(care: Care, chrome: Browser, axe: str) -> None:
    """New tabs know no access token: each takes a fresh one by the cookie, and none counts as a stolen one's user."""
    smith = Person(chrome, care, axe)
    smith.sign_in("smith")
    smith.page.wait_for_url("**/app/patients")
    smith.page.goto(f"{smith.base}/app/?next=/app/progress/{care.patient_id('john')}")
    smith.page.wait_for_url("**/app/progress/*")
    tabs = [smith.context.new_page() for _ in range(4)]
    for tab in tabs:
        tab.goto(f"{smith.base}/app/", wait_until="commit")
    for tab in tabs:
        tab.wait_for_url("**/app/patients", timeout=60_000)
        tab.reload()
        expect(tab.get_by_role("heading", name="Your patients")).to_be_visible()
    smith.page.get_by_role("button", name="Sign out").click()
    expect(smith.page.get_by_role("button", name="Sign in")).to_be_visible()
    tabs[0].goto(f"{smith.base}/app/")
    expect(tabs[0].get_by_role("button", name="Sign in")).to_be_visible()
    smith.leave()


def test_a_filmed_patient_is_measured_reviewed_and_told(
    care: Care, chrome: Browser, axe: str, video: Path, filmed: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A man squats twice before a camera, bending forward: what is measured, found, said of it, and read by him."""
    created = care.create(exercise_type="squat_front")
    session = created["session_id"]
    with care.as_("john") as client:
        for start in range(0, len(filmed), 100):
            data_of(client.post(created["upload_urls"]["metadata"], json={"frames": filmed[start : start + 100]}))
        data_of(client.put(created["upload_urls"]["video"], content=video.read_bytes()))
        found = data_of(client.get(f"/api/sessions/{session}/timeline"))
        details = client.get(f"/api/sessions/{session}").json()
    assert found["summary"]["repetitions"] == len(found["repetitions"]) == 2
    assert all(60 < rep["extreme"] < 80 for rep in found["repetitions"])
    assert {issue["type"] for issue in found["issues"] if issue["source"] == "relay"} == {"ANGLE_WARNING"}
    for joint, spread in details["pose_data"]["angle_ranges"].items():
        seen = [frame["angles"][joint] for frame in filmed if joint in (frame["angles"] or {})]
        assert spread == {"min": min(seen), "max": max(seen), "avg": pytest.approx(sum(seen) / len(seen), abs=1e-3)}
    assert details["pose_data"]["sampling_rate"] == pytest.approx(15, abs=0.2)

    smith = Person(chrome, care, axe)
    smith.sign_in("smith")
    smith.page.wait_for_url("**/app/patients")
    smith.page.goto(f"{smith.base}/app/session/{session}")
    expect(smith.page.locator("#facts")).to_contain_text("Repetitions2")
    expect(smith.page.locator("#facts")).to_contain_text("one side seen")
    smith.until(lambda state: state >= 2, "document.querySelector('video').readyState")
    assert smith.page.evaluate("document.querySelector('video').duration") == pytest.approx(20.5, abs=0.2)
    finding = smith.page.locator("#findings li", has_text="Keep the trunk more upright").get_by_role("button").first
    finding.click()
    expect(smith.page.locator("#skeleton svg")).to_have_attribute("viewBox", "0 0 0.5625 1")
    at = (found["repetitions"][0]["turn"] - filmed[0]["timestamp"]) / 1000
    smith.until(lambda moment: abs(moment - at) < 0.3, "document.querySelector('video').currentTime")
    smith.page.get_by_role("radio", name="Fair").check()
    smith.page.get_by_label("What you saw").fill("Trunk far forward at the bottom")
    smith.page.get_by_label("What to do").fill("Look ahead, chest up")
    smith.page.get_by_role("button", name="Add the remark").click()
    smith.shot(tmp_path, "filmed")
    smith.page.get_by_role("button", name="Send the review").click()
    expect(smith.page.locator("#given")).to_contain_text("Fair, by Smith Doe")
    smith.leave()

    john = Person(chrome, care, axe, "phone")
    john.sign_in("john")
    john.page.wait_for_url("**/app/me")
    john.page.goto(f"{john.base}/app/session/{session}")
    expect(john.page.locator("#given")).to_contain_text("Trunk far forward at the bottom. Look ahead, chest up")
    john.shot(tmp_path, "filmed-phone")
    john.leave()


def test_a_long_session_and_long_lists_are_shown_to_their_end(care: Care, chrome: Browser, axe: str) -> None:
    """Poses beyond the first that are fetched, and lines beyond the first page."""
    created = care.create("jane", by="admin")
    some = frames(BEGAN, squats=30)
    made = [frame | {"timestamp": BEGAN + 66 * k} for k, frame in enumerate((some * 6)[:2600])]
    with care.as_("jane") as client:
        for start in range(0, len(made), 650):
            data_of(client.post(created["upload_urls"]["metadata"], json={"frames": made[start : start + 650]}))
    for _ in range(54):
        care.create("jane", by="jane")
    jane = Person(chrome, care, axe)
    jane.sign_in("jane")
    jane.page.wait_for_url("**/app/me")
    expect(jane.page.locator("#sessions li")).to_have_count(51)
    jane.page.get_by_role("button", name="Show more: 5 left").click()
    expect(jane.page.locator("#sessions li")).to_have_count(55)
    jane.page.goto(f"{jane.base}/app/session/{created['session_id']}")
    for key in ("End", "Home"):
        jane.page.get_by_role("slider", name="Moment").press(key)
        expect(jane.page.locator("#skeleton line")).to_have_count(14)
        expect(jane.page.locator("#moment")).not_to_contain_text("on its way")
    jane.leave()
