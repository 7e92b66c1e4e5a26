"""Turns at the hand detectors: the newest frame of each, nobody starved, and what happens when there is no detector."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.vision.weights import Models
from relay.errors import DetectorMissing, InvalidImage
from relay.main import hand_detector
from relay.process.metrics import Metrics
from relay.signs.detection.lookout import Client, Look, Lookout, Seen
from tests.waiting import comes

BLANK = np.zeros((4, 6, 3), np.uint8)


class Gate:
    """A detector that sees no hands, one picture each time it is let; it notes whose tracker came with each."""

    def __init__(self) -> None:
        self.open = threading.Semaphore(0)
        self.trackers: list[Any] = []

    def follow(self, image_bgr: Any, t_ns: int, followed: Any) -> tuple[list[Any], Any]:
        assert self.open.acquire(timeout=20.0)
        self.trackers.append(followed)
        return [], (t_ns, (followed or (0, 0))[1] + 1)


def look(done: Callable[[Seen], None], t_ns: int = 0, pixels: Any = BLANK) -> Look:
    return Look(lambda: pixels, t_ns, done)


@pytest.fixture
async def gate() -> Gate:
    return Gate()


async def test_the_newest_frame_of_each_and_everybody_in_turn(gate: Gate) -> None:
    metrics = Metrics()
    lookout = Lookout(lambda: gate, lambda: None, 1, metrics)
    running = asyncio.create_task(lookout.open_for_ever())
    clients, answered = [Client() for _ in range(5)], Counter[int]()
    newest: list[int] = []
    for number, client in enumerate(clients):
        for frame in range(10):
            lookout.offer(client, look(lambda _, n=number, f=frame: (answered.update([n]), newest.append(f)), frame))
    gate.open.release(6)
    await comes(lambda: answered.total() >= 5)
    assert set(answered) == set(range(5))
    assert set(newest) <= {0, 9}
    assert sum(client.dropped for client in clients) >= 40
    assert metrics.registry.get_sample_value("homeside_signs_dropped_total", {"what": "frame"}) >= 40
    gate.open.release(10)
    running.cancel()


async def test_each_client_has_its_own_tracker(gate: Gate) -> None:
    lookout = Lookout(lambda: gate, lambda: None, 1, Metrics())
    running = asyncio.create_task(lookout.open_for_ever())
    gate.open.release(6)
    one, other, seen = Client(), Client(), list[Seen]()
    for round_ in range(3):
        for client in (one, other):
            lookout.offer(client, look(seen.append, round_ + 1))
        await comes(lambda wanted=2 * (round_ + 1): len(seen) == wanted)
    assert gate.trackers == [None, None, (1, 1), (1, 1), (2, 2), (2, 2)]
    assert one.followed == other.followed == (3, 3)
    assert seen[0].aspect == 1.5
    running.cancel()


async def test_a_bad_picture_is_told_and_the_next_is_looked_at(gate: Gate) -> None:
    lookout = Lookout(lambda: gate, lambda: None, 1, Metrics())
    running = asyncio.create_task(lookout.open_for_ever())
    gate.open.release(1)
    client, seen = Client(), list[Seen]()

    def bad() -> Any:
        raise InvalidImage("no picture")

    lookout.offer(client, Look(bad, 0, seen.append))
    await comes(lambda: len(seen) == 1)
    lookout.offer(client, look(seen.append))
    await comes(lambda: len(seen) == 2)
    assert [one.problem is None for one in seen] == [False, True]
    running.cancel()


async def test_without_what_it_needs_it_says_so_and_comes_back(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.signs.detection.lookout.REOPEN_S", 0.01)
    missing = [DetectorMissing("the vision model is missing: run make models")]

    def make() -> Gate:
        if missing:
            raise missing[0]
        return gate

    lookout = Lookout(make, lambda: None, 2, Metrics())
    running = asyncio.create_task(lookout.open_for_ever())
    lookout.wake()
    await comes(lambda: lookout.problem is not None)
    with pytest.raises(DetectorMissing, match="make models"):
        lookout.offer(Client(), look(lambda _: None))
    missing.clear()
    await comes(lambda: lookout.problem is None)
    running.cancel()


async def test_a_model_file_that_is_missing_or_another_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay's own detector, its models in a folder without them: nothing is looked at, and the words say why."""
    monkeypatch.setattr("agent.vision.hands.Models", lambda: Models(tmp_path))
    with pytest.raises(DetectorMissing, match=r"cannot be read .* run `make models`"):
        hand_detector()
    for name in ("palm_detection_full", "hand_landmark_full"):
        (tmp_path / f"{name}.tflite").write_bytes(b"another model")
    lookout = Lookout(hand_detector, lambda: None, 1, Metrics())
    running = asyncio.create_task(lookout.open_for_ever())
    lookout.wake()
    await comes(lambda: "not the one" in (lookout.problem or ""))
    with pytest.raises(DetectorMissing, match="make models"):
        lookout.offer(Client(), look(lambda _: None))
    running.cancel()


async def test_an_extra_that_is_not_installed_is_known_from_the_start() -> None:
    lookout = Lookout(Gate, lambda: "cv2 not installed", 1, Metrics())
    with pytest.raises(DetectorMissing, match="cv2 not installed"):
        lookout.offer(Client(), look(lambda _: None))
    assert Lookout(Gate, lambda: None, 0, Metrics()).problem == "detectors = 0 in the settings"


async def test_who_has_gone_hears_nothing_more(gate: Gate) -> None:
    lookout = Lookout(lambda: gate, lambda: None, 1, Metrics())
    running = asyncio.create_task(lookout.open_for_ever())
    client, other, seen = Client(), Client(), list[Seen]()
    lookout.offer(client, look(lambda _: pytest.fail("told somebody who has gone")))
    lookout.leave(client)
    lookout.offer(other, look(seen.append))
    gate.open.release(2)
    await comes(lambda: len(seen) == 1)
    running.cancel()
