"""A page in Chromium whose accelerometer is in the test's hand."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import CDPSession, Page

from tests.waiting import PATIENCE_S, until

SENSORS = ("accelerometer", "linear-acceleration", "gyroscope")
MOVE_EVERY_S, ASK_EVERY_S = 0.015, 0.1
REST = 9.8
"""Chromium rounds what a sensor says to 0.1 m/s²; values here are such multiples, and come back unchanged."""


class Phone:
    """A page whose motion sensor this test moves, and which goes on moving while the test waits."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sensor: CDPSession = page.context.new_cdp_session(page)
        for kind in SENSORS:
            self.sensor.send("Emulation.setSensorOverrideEnabled", {"enabled": True, "type": kind})
        self.given: set[float] = set()
        self._values = itertools.cycle([REST, 9.9, REST, 9.7])

    def move(self) -> None:
        z = next(self._values)
        self.given.add(z)
        reading = {"xyz": {"x": 0.1, "y": 0.2, "z": z}}
        self.sensor.send("Emulation.setSensorOverrideReadings", {"type": "accelerometer", "reading": reading})

    def until(self, condition: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
        """Moves all the while: asked too often, a page gets too few readings and says that its sensor is slow."""
        deadline = time.monotonic() + within_s
        ask_at = 0.0
        while (began := time.monotonic()) < deadline:
            self.move()
            if began >= ask_at:
                if found := condition():
                    return found
                ask_at = time.monotonic() + ASK_EVERY_S
            time.sleep(max(0.0, began + MOVE_EVERY_S - time.monotonic()))
        raise AssertionError(f"waited {within_s} s for {what}; the page says {self.phase}")

    def for_(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "time to pass", seconds + 5)

    @property
    def phase(self) -> str:
        return str(self.page.evaluate("document.body.dataset.phase"))

    def wait_phase(self, phase: str) -> None:
        self.until(lambda: self.phase == phase, phase)

    def start(self) -> None:
        until(lambda: self.page.locator("#start").is_enabled(), "the page to be ready")
        self.page.locator("#start").click()
        self.wait_phase("measuring")

    def kept(self) -> int:
        """Batches in the browser's own database."""
        return int(
            self.page.evaluate(
                """() => new Promise((done) => {
                  const opening = indexedDB.open('homeside')
                  opening.onsuccess = () => {
                    const store = opening.result.transaction('batches').objectStore('batches')
                    store.count().onsuccess = (event) => done(event.target.result)
                  }
                })"""
            )
        )
