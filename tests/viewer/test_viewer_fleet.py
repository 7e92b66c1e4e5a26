"""The operator's page on a real relay: which kits need somebody, found, tagged, set and asked for a report."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Browser, Page

from tests.peers import REPO_ROOT
from tests.programs import RelayProgram
from tests.provisioning.releases import release, trusted
from tests.relay.kits import FleetKit
from tests.viewer.conftest import DESK, PHONE
from tests.viewer.looking import wait_words, words
from tests.waiting import until

pytestmark = pytest.mark.browser
EMAIL, PASSWORD = "admin@example.org", "correct horse battery"


class Ward:
    """A relay with an admin and four kits: one is well, two need somebody, one has gone."""

    def __init__(self, folder: Path) -> None:
        (folder / "release-keys").write_text(trusted(folder / "keys").read_text())
        self.relay = RelayProgram(folder)
        self.relay.hears_kits()
        words = [sys.executable, "-m", "homeside", "users", "add", EMAIL, "--role", "admin", "--data", str(folder)]
        subprocess.run(words, input=PASSWORD + "\n", text=True, check=True, cwd=REPO_ROOT, capture_output=True)
        names = ("bedside-07", "home-031", "home-044", "home-052")
        self.kits = {name: FleetKit(self.relay.mqtt_port, name) for name in names}
        self.tell()

    def tell(self) -> None:
        sensor = {"name": "ble", "sensor": "Polar H10", "rateHz": 200, "problem": None, "batteryPercent": 81}
        self.kits["bedside-07"].tell(sources=[sensor])
        self.kits["home-031"].tell(sources=[{**sensor, "batteryPercent": 37}], backlog=115_200)
        self.kits["home-044"].tell(sources=[{**sensor, "batteryPercent": 6}], version="0.2.0")
        self.kits["home-052"].tell(state="offline")

    def close(self) -> None:
        for kit in self.kits.values():
            kit.close()
        assert self.relay.stop() == 0


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    found = Ward(tmp_path_factory.mktemp("ward"))
    yield found
    found.close()


@pytest.fixture
def fleet(ward: Ward, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, signed in as an admin. Whatever it complains of fails the test."""
    ward.tell()
    options: dict[str, Any] = getattr(request, "param", {"viewport": DESK, "color_scheme": "light"})
    context = browser.new_context(**options)
    complaints: list[str] = []
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{ward.relay.http}/app/")
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.click("form button")
    page.wait_for_url("**/app/fleet")
    until(lambda: page.locator("#kits tr").count() == 4, "the kits")
    yield page
    if folder := os.environ.get("HOMESIDE_SCREENS"):
        page.screenshot(path=f"{folder}/fleet-{options['color_scheme']}.png", full_page=True)
    context.close()
    assert complaints == []


def rows(page: Page) -> list[str]:
    return list(page.locator("#kits tr").all_inner_texts())


def test_kits_that_need_somebody_come_first_and_say_why(fleet: Page) -> None:
    until(lambda: "Sensor battery low" in words(fleet, "#kits"), "the low battery")
    shown = rows(fleet)
    assert "Sending what it kept" in shown[0]
    assert "3 h 12 min" in shown[0]
    assert "Sensor battery low" in shown[1]
    assert "6 %" in shown[1]
    assert "Away" in shown[2]
    assert "kept on the kit" in shown[2]
    assert "bedside-07" in shown[3]
    assert "± 2.5 ms" in shown[3]
    assert [fleet.locator(f"[data-of='{of}'] b").inner_text() for of in ("", "live", "attention", "away")] == [
        *("4", "1", "2", "1"),
    ]
    assert words(fleet, "#versions") == "Version 0.1.0 on 3 kits · 0.2.0 on 1 kit"


def test_kits_are_found_by_words_and_by_state(fleet: Page) -> None:
    fleet.fill("#find", "home 0.2")
    until(lambda: len(rows(fleet)) == 1, "one kit")
    assert "home-044" in rows(fleet)[0]
    fleet.fill("#find", "nothing like it")
    wait_words(fleet, "#count", "No kit matches.")
    fleet.fill("#find", "")
    fleet.click("[data-of=away]")
    until(lambda: len(rows(fleet)) == 1 and "home-052" in rows(fleet)[0], "the kit that is away")
    assert fleet.get_attribute("[data-of=away]", "aria-pressed") == "true"


def test_a_kit_is_tagged_set_and_asked_for_a_report(fleet: Page, ward: Ward) -> None:
    kit = ward.kits["bedside-07"]
    fleet.click("#kits button:text-is('bedside-07')")
    wait_words(fleet, "#one-facts", "Polar H10 · 200 Hz")
    fleet.fill("#tags-text", "ward 3, pilot")
    fleet.click("#tags button")
    wait_words(fleet, "#one-said", "Saved.")
    until(lambda: "pilot, ward 3" in words(fleet, "#kits"), "the tags in the list")
    fleet.fill("#settings-text", "no line like this")
    fleet.click("#settings button")
    wait_words(fleet, "#one-said", "is no key = value")
    fleet.fill("#settings-text", "source.serial.rate_hz = 200")
    fleet.click("#settings button")
    wait_words(fleet, "#settings-told", "Version 1 waits until the kit hears of it.")
    assert kit.until_told("configure") == {"version": 1, "settings": {"source.serial.rate_hz": 200}}
    fleet.click("#diagnose")
    request = kit.until_told("diagnose")["request"]
    kit.say("diagnostics", {"request": request, "report": {"findings": []}}, boot="b", seq=1)
    wait_words(fleet, "#one-said", "The report is here.", 30.0)
    assert fleet.get_attribute("#report", "download") == "bedside-07.json"
    fleet.click("#kits button:text-is('bedside-07')")
    wait_words(fleet, "#one-deeds", f"{EMAIL}: asked for a report")


def test_what_a_kit_says_is_shown_as_text(fleet: Page, ward: Ward) -> None:
    """No markup of a kit's is ever the page's: neither in the list nor in the details."""
    hostile = '<img src=x onerror="document.title=1">&lt;b&gt;'
    ward.kits["bedside-07"].tell(sources=[{"name": hostile, "sensor": hostile, "problem": hostile}], version=hostile)
    until(lambda: hostile in words(fleet, "#kits"), "what the kit said")
    fleet.click("#kits button:text-is('bedside-07')")
    wait_words(fleet, "#one-facts", hostile)
    assert fleet.locator("main img").count() == 0
    assert fleet.title() == "Fleet · Homeside"


def test_a_certificate_that_ends_is_warned_of(fleet: Page, ward: Ward) -> None:
    now, day = int(time.time() * 1000), 86_400_000
    ward.kits["bedside-07"].tell(certificate={"endsMs": now + 5 * day + 60_000, "renewMs": now - 25 * day})
    until(lambda: "Certificate ends in 5 days" in words(fleet, "#kits"), "the warning")
    assert "bedside-07" in rows(fleet)[0]
    ward.kits["bedside-07"].tell(certificate={"endsMs": now + 80 * day, "renewMs": now + 50 * day})
    until(lambda: "Certificate" not in words(fleet, "#kits"), "the end of it")
    fleet.click("#kits button:text-is('bedside-07')")
    ends = datetime.fromtimestamp(now / 1000).astimezone() + timedelta(days=80)
    wait_words(fleet, "#one-facts", f"holds until {ends.day} {ends:%B %Y}")


def test_a_release_goes_out_by_steps_and_halts_by_itself(fleet: Page, ward: Ward, tmp_path: Path) -> None:
    fleet.click("#begin summary")
    wait_words(fleet, "#roll-none", "No release is here yet.")
    fleet.set_input_files("#bundle", release(tmp_path / "unsigned", "1.1.0", key=Ed25519PrivateKey.generate()))
    fleet.click("#publish button")
    wait_words(fleet, "#updates-said", "not signed by a key that is trusted here")
    fleet.set_input_files("#bundle", release(tmp_path, "1.1.0", notes="mends the camera"))
    fleet.click("#publish button")
    wait_words(fleet, "#updates-said", "was taken in.")
    assert "mends the camera" in words(fleet, "#roll-version")
    assert "all kits" in words(fleet, "#roll-tag")
    fleet.select_option("#roll-percent", "50")
    fleet.select_option("#roll-failed", "20")
    meets = words(fleet, "#roll-meets")
    fleet.click("#roll button")
    wait_words(fleet, "#rollouts", "1.1.0 to 50 % of all kits")
    fleet.click("#rollouts button:text-is('Widen to 100 %')")
    wait_words(fleet, "#rollouts", "1.1.0 to 100 % of all kits: 0 of 4 kits done, 4 waiting, 0 failed")
    assert "will be asked" in meets or meets.startswith("No kit is met by this.")
    assert ward.kits["bedside-07"].until_told("update")["version"] == "1.1.0"
    fleet.click("#rollouts button:text-is('Pause')")
    wait_words(fleet, "#rollouts", "paused")
    fleet.click("#rollouts button:text-is('Go on')")
    until(lambda: "paused" not in words(fleet, "#rollouts"), "the rollout to go on")
    update = {"version": "1.1.0", "state": "rolled_back", "problem": "did not come up"}
    ward.kits["bedside-07"].tell(update=update)
    wait_words(fleet, "#rollouts", "halted: 1 of 4 kits refused it or came back from it", 30.0)
    assert fleet.locator("#rollouts button").all_inner_texts() == ["Go on all the same"]


LOOKS = [{"viewport": DESK, "color_scheme": "light"}, {"viewport": PHONE, "color_scheme": "dark"}]


@pytest.mark.parametrize("fleet", LOOKS, indirect=True, ids=["light-desk", "dark-phone"])
def test_fits_and_axe_finds_nothing(fleet: Page, axe: str) -> None:
    wide = fleet.viewport_size
    assert wide is not None
    fleet.click("#kits button:text-is('home-044')")
    wait_words(fleet, "#one-name", "home-044")
    fleet.click("#begin summary")
    until(lambda: fleet.locator("#roll").is_visible(), "the form of a rollout")
    assert fleet.evaluate("document.documentElement.scrollWidth") <= wide["width"]
    fleet.evaluate(axe + "; undefined")
    found = fleet.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_signing_out_is_on_the_page_and_ends_the_sign_in(fleet: Page, ward: Ward) -> None:
    bearer = fleet.evaluate("JSON.parse(sessionStorage.getItem('homeside.access')).token")
    asked = {"url": f"{ward.relay.http}/fleet/api/v1/kits", "headers": {"Authorization": f"Bearer {bearer}"}}
    assert httpx.get(**asked).status_code == 200
    fleet.get_by_role("button", name="Sign out").click()
    fleet.wait_for_url("**/app/")
    assert fleet.evaluate("sessionStorage.getItem('homeside.access')") is None
    until(lambda: httpx.get(**asked).status_code == 401, "the token's end")


def test_others_are_told_that_it_is_not_theirs(ward: Ward, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{ward.relay.http}/app/fleet")
    page.wait_for_url("**/app/?next=*fleet")
    page.close()
