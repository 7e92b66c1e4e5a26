"""Poses: the squat and the walk as an eye sees them, the same as MediaPipe's own Tasks, and nobody where nobody is."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from agent.sources.slot import Image
from agent.vision.boxes import anchors, decode
from agent.vision.hands import HandDetector
from agent.vision.pose import MASK, Pose, PoseDetector
from agent.vision.regions import Region, crop, direction
from agent.vision.smoothing import OneEuro, Tuning
from agent.vision.trimmed import without_output
from agent.vision.weights import Models
from core.motion.angles import joint_angles
from core.motion.form import analyse
from core.motion.view import believed, turned_away
from tests.agent.vision.looked import jitter, looked, pixels
from tests.agent.vision.pictures import odd_pictures, photographs, pictures, walking

STEP_NS = 33_333_333
AGREE_FRAMES = 150
LOOKS = 5
ON_THE_ROOF, HE_IS_LOST, HE_LANDS = 140, 164, 192
"""He jumps down a second later."""


@pytest.fixture(scope="module")
def squat(data_dir: Path) -> list[Image]:
    return list(pictures(data_dir / "motion" / "squat_side_360x640.mp4"))


@pytest.fixture(scope="module")
def squatting(squat: list[Image]) -> list[Pose | None]:
    detector = PoseDetector(size="lite")
    return [detector.detect(image, number * STEP_NS) for number, image in enumerate(squat)]


def test_the_squat_is_two_squats(squat: list[Image], squatting: list[Pose | None]) -> None:
    assert None not in squatting
    poses = [pose for pose in squatting if pose is not None]
    measured = [believed(joint_angles(pose.world, pose.visibility), pose.world) for pose in poses]
    keys = sorted({key for angles in measured for key in angles})
    series = {key: np.array([angles.get(key, np.nan) for angles in measured]) for key in keys}
    found = analyse("squat", np.arange(len(poses)) * 1000 / 30, series)
    frames = [[round(t * 30 / 1000) for t in (one.start_ms, one.turn_ms, one.end_ms)] for one in found.repetitions]
    assert len(frames) == 2
    for (start, turn, end), (low, high) in zip(frames, ((282, 330), (477, 534)), strict=True):
        assert abs(start - low) <= 15
        assert abs(end - high) <= 15
        assert low < turn < high
    assert 65 <= np.nanmin(series["knee_right"]) <= 72
    assert found.issues == ()
    standing = series["knee_right"][30:240]
    assert np.nanmin(standing) > 135, "standing is standing"
    assert all(turned_away(pose.world) > 55 for pose in poses[30:]), "seen from the side"


def test_who_was_followed_stays_followed_while_another_passes() -> None:
    """A man stands on a roof; a woman walks through below him. He is followed for as long as he stands there."""
    detector, seen, counted = PoseDetector(size="lite"), [], 0
    for number, image in enumerate(pictures(walking(), count=190, longest=884)):
        pose = detector.detect(image, number * STEP_NS)
        if pose is not None:
            counted = max(counted, pose.people)
            if number < ON_THE_ROOF:
                seen.append(pixels(pose, image)[23])
    hips = np.array(seen)
    assert len(hips) > 100
    assert (hips[:, 1] < 250).all(), "on the roof, not on the grass"
    assert np.abs(np.diff(hips[5:], axis=0)).max() < 40
    assert counted == 2, "two are in view"


def test_a_body_taken_up_the_wrong_way_round_is_righted() -> None:
    """The man turns over in the air, is lost, and his outline is found on the woman below, head down."""
    detector, steps = PoseDetector(size="lite"), []
    for number, image in enumerate(pictures(walking(), count=HE_LANDS, longest=884)):
        pose = detector.detect(image, number * STEP_NS)
        if pose is not None and number > HE_IS_LOST:
            nose, ankles = pose.landmarks[0, 1], pose.landmarks[27:29, 1].mean()
            steps.append(bool(nose < ankles))
    assert len(steps) > 15
    assert all(steps[8:]), "after a quarter of a second her head is up"


@pytest.mark.parametrize("name", odd_pictures())
def test_nobody_is_found_where_nobody_is(name: str) -> None:
    detector = PoseDetector(size="lite")
    for step in range(2):
        assert detector.detect(odd_pictures()[name], step * STEP_NS) is None


def followed(images: list[Image]) -> list[Pose | None]:
    detector = PoseDetector(size="lite")
    return [detector.detect(np.ascontiguousarray(image), number * STEP_NS) for number, image in enumerate(images)]


def test_of_three_people_the_one_in_the_middle_is_followed(squat: list[Image]) -> None:
    one = [image[150:560, 60:300] for image in squat[10:50]]
    poses = followed([np.hstack([image] * 3) for image in one])
    assert None not in poses
    hips = np.array([pose.landmarks[23:25, 0].mean() for pose in poses if pose is not None])
    assert ((hips > 1 / 3) & (hips < 2 / 3)).all()
    assert all(pose.people >= 2 for pose in poses if pose is not None), "the others are told of"


def test_of_half_a_person_no_degrees_are_told_of_what_is_outside(squat: list[Image]) -> None:
    upper = followed([image[:320] for image in squat[10:20]])[-1]
    assert upper is not None
    assert upper.visibility[11] > 0.9
    assert max(upper.visibility[27:29]) < 0.5
    assert (upper.landmarks[27:29, 1] > 1).all(), "ankles are below the picture"
    assert not [key for key in joint_angles(upper.world, upper.visibility) if key.startswith("knee")]
    assert followed([image[320:] for image in squat[10:20]]) == [None] * 10, "legs alone are nobody"


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_somebody_turned_over_has_the_same_joints(turns: int, squat: list[Image], squatting: list[Pose | None]) -> None:
    upright, turned = squatting[29], followed([np.rot90(image, turns) for image in squat[:30]])[-1]
    assert upright is not None
    assert turned is not None
    back = turned.landmarks[:, :2] - 0.5
    for _ in range(turns):
        back = np.column_stack([-back[:, 1], back[:, 0]])
    apart = np.linalg.norm((back + 0.5 - upright.landmarks[:, :2]) * (360, 640), axis=1)
    assert np.median(apart) < 0.03 * np.ptp(upright.landmarks[:, 1]) * 640, "3 % of the body's height"
    ours, theirs = (joint_angles(pose.world, pose.visibility)["knee_right"] for pose in (turned, upright))
    assert ours == pytest.approx(theirs, abs=10)


def test_the_trimmed_model_says_the_same_to_the_last_bit() -> None:
    body = Models().read("pose_landmark_lite")
    given = np.random.default_rng(3).random((1, 256, 256, 3), np.float32)
    outputs = []
    for model in (body, without_output(body, MASK)):
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
        interpreter.invoke()
        outputs.append([interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()])
    whole, trimmed = outputs
    assert len(trimmed) == len(whole) - 1
    for ours, theirs in zip(trimmed, whole[:MASK] + whole[MASK + 1 :], strict=True):
        assert np.array_equal(ours, theirs)


def test_poses_agree_with_mediapipes_own(squat: list[Image], squatting: list[Pose | None]) -> None:
    images = squat[:AGREE_FRAMES]
    theirs = [seen.pose for seen in looked(images, "pose", model="lite")]
    apart, ours_moved, theirs_moved = [], [], []
    for image, our, their in zip(images, squatting, theirs, strict=False):
        assert our is not None
        assert their is not None
        one, other = pixels(our, image), pixels(their, image)
        apart.append(np.linalg.norm(one - other, axis=1) / np.ptp(other[:, 1]))
        ours_moved.append(one)
        theirs_moved.append(other)
        assert np.abs(our.visibility - their.visibility).max() < 0.2
    assert np.median(apart) < 0.01, "1 % of the body's height"
    assert np.percentile(apart, 95) < 0.05
    assert jitter(ours_moved) <= 1.05 * jitter(theirs_moved)


def test_hands_agree_with_mediapipes_own(data_dir: Path) -> None:
    """Once followed: for its first look, Tasks 1.2 turns a palm's region by 90 radians where 90 degrees are meant."""
    images = list(photographs(data_dir).values())
    shown = [[*[image] * LOOKS, np.zeros_like(image)] for image in images]
    theirs = looked(list(itertools.chain.from_iterable(shown)), "hands", model="full")[LOOKS - 1 :: LOOKS + 1]
    detector, apart = HandDetector(), []
    for image, seen in zip(images, theirs, strict=True):
        detector.reset()
        ours = [detector.detect(image, look * STEP_NS) for look in range(LOOKS)][-1]
        assert len(ours) == len(seen.hands)
        for our, their in zip(ours, seen.hands, strict=True):
            scale = np.array([image.shape[1], image.shape[0]])
            palm = np.linalg.norm((their.landmarks[9, :2] - their.landmarks[0, :2]) * scale)
            apart.append(np.linalg.norm((our.landmarks - their.landmarks)[:, :2] * scale, axis=1) / palm)
            assert our.handedness == their.handedness
    assert len(apart) >= 11
    assert np.median(apart) < 0.01, "1 % of the palm"


def test_a_region_and_back_again() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (200, 300, 3), np.uint8)
    region = Region(140.0, 90.0, 64.0, 64.0, 0.0)
    cut = crop(image, region, 64, np.empty((64, 64, 3), np.uint8))
    assert np.array_equal(cut, image[58:122, 108:172])
    turned = region._replace(angle=np.pi / 2)
    cut = crop(image, turned, 64, np.empty((64, 64, 3), np.uint8))
    middle = turned.to_picture(np.array([[10 / 64, 20 / 64]], np.float32))[0]
    assert np.allclose(cut[20, 10], image[round(float(middle[1])), round(float(middle[0]))], atol=2)
    assert direction(np.array([0, 10], np.float32), np.array([0, 0], np.float32)) == pytest.approx(0)
    assert direction(np.array([0, 0], np.float32), np.array([10, 0], np.float32)) == pytest.approx(np.pi / 2)
    assert Region(0, 0, 10, 20, 0).grown(1.5, shift_up=0.5) == Region(0, -10, 30, 30, 0)
    assert Region(0, 0, 2, 2, 0).overlap(Region(1, 0, 2, 2, 1)) == pytest.approx(1 / 3)


def test_anchors_and_detections() -> None:
    assert anchors(224, (8, 16, 32, 32, 32)).shape == (2254, 2)
    centres = anchors(192, (8, 16, 16, 16))
    assert centres.shape == (2016, 2)
    assert centres[0] == pytest.approx([0.5 / 24, 0.5 / 24])
    raw, scores = np.zeros((2016, 18), np.float32), np.full((2016, 1), -9, np.float32)
    raw[:, 2:4] = 40
    scores[[100, 101, 900]] = [[2.0], [1.0], [3.0]]
    found = decode(raw, scores, centres, 192)
    assert [round(one.score, 2) for one in found] == [0.95, 0.88]
    assert found[1].box[:2] == pytest.approx(centres[100])
    assert decode(raw, np.full((2016, 1), 500, np.float32), centres, 192)
    assert decode(np.full_like(raw, np.nan), scores, centres, 192) == []


def test_smoothing_stills_what_is_still_and_follows_what_moves() -> None:
    rng = np.random.default_rng(2)
    still, quick = OneEuro(Tuning(0.05, 70.0)), OneEuro(Tuning(0.05, 70.0))
    noise = rng.normal(0, 0.2, 90).astype(np.float32)
    smooth = [float(still.apply(np.array([value]), n * STEP_NS, 300.0)[0]) for n, value in enumerate(noise)]
    assert np.std(np.diff(smooth)) < 0.5 * np.std(np.diff(noise))
    ramp = [float(quick.apply(np.array([5.0 * n], np.float32), n * STEP_NS, 300.0)[0]) for n in range(30)]
    assert 145 - ramp[-1] < 5
    assert float(quick.apply(np.array([7.0], np.float32), 29 * STEP_NS, 300.0)[0]) < 145, "time that stands still"
    quick.reset()
    assert float(quick.apply(np.array([7.0], np.float32), 0, 300.0)[0]) == 7.0
