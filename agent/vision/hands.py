"""Hands in pictures, by MediaPipe's palm and hand models through LiteRT.

Palms are searched for only while fewer hands are tracked than wanted; a tracked hand is looked for around its last
landmarks. Regions, anchors and thresholds are those of MediaPipe's hand graphs, so that the results agree.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.errors import ModelsMissing as ModelsMissing
from agent.sources.slot import Image
from agent.vision.boxes import Detection, anchors, decode
from agent.vision.network import Network
from agent.vision.regions import Region, crop, direction, whole
from agent.vision.weights import Models

Floats = NDArray[np.float32]
Size = Literal["lite", "full"]

LANDMARKS = 21
PRESENT_FROM = 0.5
SAME_HAND_FROM = 0.5
"""Regions that overlap by more than this contain the same hand."""
FORGET_AFTER_NS = 500_000_000
"""After a longer pause tracking starts anew, as the last position means nothing any more."""
STRIDES = (8, 16, 16, 16)
WRIST, MIDDLE_FINGER = 0, 2
"""The two of a palm's seven points that give its direction."""
SPANNED_BY = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Landmarks that hardly move with the fingertips; the next region is drawn around them."""
DEPTH_SHARE = 0.4


class Hand(NamedTuple):
    """`landmarks` float32[21, 3]: x, y as shares (0..1) of the picture; z on the scale of x, negative towards the
    camera.

    `world` float32[21, 3]: metres around the hand's middle. `handedness` is anatomical, for a picture that is not
    mirrored. `score`: confidence that there is a hand; `side_score`: confidence in its handedness.
    """

    landmarks: Floats
    world: Floats
    handedness: Literal["Left", "Right"]
    score: float
    side_score: float


class Followed(NamedTuple):
    """Where one person's hands were last, for a detector that serves several people in turn."""

    regions: tuple[Region, ...] = ()
    last_ns: int | None = None


class HandDetector:
    """Tracks up to `most` hands from picture to picture. Used from one thread at a time."""

    def __init__(self, models: Models | None = None, *, size: Size = "full", most: int = 1, threads: int = 2) -> None:
        models = models or Models()
        self._palm = Network(models.read(f"palm_detection_{size}"), threads)
        self._hand = Network(models.read(f"hand_landmark_{size}"), threads)
        self._anchors = anchors(self._palm.size, STRIDES)
        self._palm_crop = np.empty((self._palm.size, self._palm.size, 3), np.uint8)
        self._hand_crop = np.empty((self._hand.size, self._hand.size, 3), np.uint8)
        self._most = most
        self._regions: list[Region] = []
        self._last_ns: int | None = None

    def reset(self) -> None:
        """Forget the tracked hands; the next picture is searched anew."""
        self._regions = []

    def follow(self, image_bgr: Image, t_ns: int, followed: Followed | None) -> tuple[list[Hand], Followed]:
        """Like `detect`, for one of several people: their own state goes in (None at first) and comes back.

        If a hand is no longer where it was, the same picture is searched anew.
        """
        self._regions, self._last_ns = (list(followed.regions), followed.last_ns) if followed else ([], None)
        hands = self.detect(image_bgr, t_ns)
        if not hands and followed is not None and followed.regions:
            self.reset()
            hands = self.detect(image_bgr, t_ns)
        return hands, Followed(tuple(self._regions), self._last_ns)

    def detect(self, image_bgr: Image, t_ns: int) -> list[Hand]:
        """Hands in the picture, uint8[h, w, 3], taken at `t_ns` on any monotonic clock.

        For single photographs, call `reset` before each.
        """
        if self._last_ns is not None and abs(t_ns - self._last_ns) > FORGET_AFTER_NS:
            self.reset()
        self._last_ns = t_ns
        regions = self._regions
        if len(regions) < self._most:
            regions = self._distinct([*regions, *self._palms(image_bgr)])
        found, self._regions = [], []
        for region in regions:
            seen = self._look(image_bgr, region)
            if seen is not None and not self._known(seen[1]):
                found.append(seen[0])
                self._regions.append(seen[1])
        return found

    def _distinct(self, regions: list[Region]) -> list[Region]:
        chosen: list[Region] = []
        for region in regions:
            if all(region.overlap(other) <= SAME_HAND_FROM for other in chosen):
                chosen.append(region)
        return chosen[: self._most]

    def _known(self, region: Region) -> bool:
        """Whether another region already tracks this hand: two regions may have moved onto one."""
        return any(region.overlap(other) > SAME_HAND_FROM for other in self._regions)

    def _palms(self, image: Image) -> list[Region]:
        seen = whole(image)
        crop(image, seen, self._palm.size, self._palm_crop, border=cv2.BORDER_CONSTANT)
        self._palm.compute(self._palm_crop)
        detections = decode(self._palm.output(0), self._palm.output(1), self._anchors, self._palm.size)
        return [_around(detection, seen) for detection in detections[: self._most]]

    def _look(self, image: Image, region: Region) -> tuple[Hand, Region] | None:
        """The hand in a region, and the region for the next picture."""
        crop(image, region, self._hand.size, self._hand_crop)
        self._hand.compute(self._hand_crop)
        score = float(self._hand.output(1)[0])
        raw = self._hand.output(0).reshape(LANDMARKS, 3) / np.float32(self._hand.size)
        if not score >= PRESENT_FROM or not np.isfinite(raw).all():
            return None
        height, width = image.shape[:2]
        pixels = region.to_picture(raw[:, :2])
        depth = raw[:, 2] * np.float32(region.width / DEPTH_SHARE / width)
        landmarks = np.column_stack([pixels / np.array([width, height], np.float32), depth])
        world = self._hand.output(3).reshape(LANDMARKS, 3)
        world[:, :2] = region.turned(world[:, :2])
        right = float(self._hand.output(2)[0])
        side: Literal["Left", "Right"] = "Right" if right >= 0.5 else "Left"
        return Hand(landmarks, world, side, score, max(right, 1 - right)), _spanned(pixels)


def _around(palm: Detection, seen: Region) -> Region:
    """The region of the whole hand, derived from its palm."""
    points = seen.to_picture(palm.points)
    x, y = seen.to_picture(palm.box[:2])
    width, height = palm.box[2:] * np.float32(seen.width)
    angle = direction(points[WRIST], points[MIDDLE_FINGER])
    return Region(float(x), float(y), float(width), float(height), angle).grown(2.6, shift_up=0.5)


def _spanned(pixels: Floats) -> Region:
    """The region around a hand's landmarks, with the fingers up."""
    knuckles = (pixels[5] + pixels[13]) / 2
    angle = direction(pixels[0], (knuckles + pixels[9]) / 2)
    points = pixels[list(SPANNED_BY)]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    upright = Region(float(middle[0]), float(middle[1]), 1.0, 1.0, -angle)
    along = upright.turned(points - middle)
    low, high = along.min(axis=0), along.max(axis=0)
    centre = middle + upright._replace(angle=angle).turned((low + high) / 2)
    width, height = high - low
    return Region(float(centre[0]), float(centre[1]), float(width), float(height), angle).grown(2.0, shift_up=0.1)
