"""Hands on photographs of people: where they are, which they are, and that nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.vision.hands import Hand, HandDetector
from tests.agent.vision.pictures import odd_pictures, photographs

STEP_NS = 33_000_000
RIGHT_UNMIRRORED = ("call_0e022ee9.jpg", "none_00b85ea4.jpg", "rock_09a619ab.jpg")
"""Men whose buttons, watch and thumb say that the raised hand is the right one, and the picture not mirrored."""


@pytest.fixture(scope="module")
def detector() -> HandDetector:
    return HandDetector()


def only(detector: HandDetector, image: np.ndarray) -> Hand | None:  # type: ignore[type-arg]
    detector.reset()
    found = detector.detect(image, 0)
    return found[0] if found else None


def test_hands_are_found_where_they_are(detector: HandDetector, data_dir: Path) -> None:
    seen = {name: only(detector, image) for name, image in photographs(data_dir).items()}
    found = {name: hand for name, hand in seen.items() if hand is not None}
    assert len(found) >= 11, seen
    for name, hand in found.items():
        assert hand.landmarks.shape == hand.world.shape == (21, 3)
        assert ((hand.landmarks[:, :2] > 0) & (hand.landmarks[:, :2] < 1)).all(), name
        span = np.linalg.norm(hand.world[12] - hand.world[0])
        assert 0.05 < span < 0.25, f"{name}: a hand of {span:.2f} m"
    extended = found["four_077fa4bf.jpg"].landmarks
    assert all(extended[tip, 1] < extended[tip - 2, 1] for tip in (8, 12, 16, 20)), "four fingers up"


def test_which_hand_it_is_and_its_mirror_image(detector: HandDetector, data_dir: Path) -> None:
    images = photographs(data_dir)
    for name in RIGHT_UNMIRRORED:
        hand = only(detector, images[name])
        assert hand is not None
        assert hand.handedness == "Right", name
    other = {"Left": "Right", "Right": "Left"}
    for name, image in images.items():
        hand, mirrored = only(detector, image), only(detector, np.ascontiguousarray(image[:, ::-1]))
        if hand is not None and mirrored is not None and "none" not in name:
            assert mirrored.handedness == other[hand.handedness], name
            assert np.abs(1 - mirrored.landmarks[:, 0] - hand.landmarks[:, 0]).max() < 0.03, name


def test_a_hand_is_followed_without_looking_for_it_again(detector: HandDetector, data_dir: Path) -> None:
    image = photographs(data_dir)["rock_026fd791.jpg"]
    detector.reset()
    first = detector.detect(image, 0)[0].landmarks
    palms: list[int] = []
    detector._palm.compute, run = lambda crop: (palms.append(1), run(crop))[1], detector._palm.compute  # type: ignore[method-assign]
    try:
        for step in range(1, 9):
            moved = np.roll(image, 6 * step, axis=1)
            found = detector.detect(moved, step * STEP_NS)
            shift = found[0].landmarks[:, 0] - first[:, 0] - 6 * step / image.shape[1]
            assert np.abs(shift).max() < 0.02
        assert palms == []
        assert detector.detect(np.zeros_like(image), 9 * STEP_NS) == []
        assert detector.detect(image, 10 * STEP_NS)
        assert palms == [1]
        detector.detect(image, 10_000 * STEP_NS)
        assert palms == [1, 1], "after a long pause it is looked for anew"
    finally:
        detector._palm.compute = run  # type: ignore[method-assign]


def test_two_hands_are_two(data_dir: Path) -> None:
    images = photographs(data_dir)
    one, other = images["rock_026fd791.jpg"], images["rock_09a619ab.jpg"]
    both = np.hstack([one, other])
    found = HandDetector(most=2).detect(both, 0)
    sides = sorted(float(hand.landmarks[:, 0].mean()) for hand in found)
    assert len(found) == 2
    assert sides[0] < 0.5 < sides[1]


@pytest.mark.parametrize("name", odd_pictures())
def test_nothing_is_found_where_nobody_is(detector: HandDetector, name: str) -> None:
    detector.reset()
    for step in range(3):
        assert detector.detect(odd_pictures()[name], step * STEP_NS) == []
