"""Poses in pictures, by MediaPipe's pose models through LiteRT: one person, tracked.

The detector runs mainly while nobody is tracked; then two auxiliary points of the landmark model tell where to look
next. Regions, refinement and smoothing are those of MediaPipe's pose graphs, so that the results agree.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.sources.slot import Image
from agent.vision.boxes import anchors, decode
from agent.vision.network import Network
from agent.vision.regions import Region, crop, direction, whole
from agent.vision.smoothing import OneEuro, Tuning
from agent.vision.trimmed import without_output
from agent.vision.weights import Models

Floats = NDArray[np.float32]
Complexity = Literal["lite", "full", "heavy"]

LANDMARKS, ALL_POINTS = 33, 39
AUXILIARY = slice(33, 35)
"""The middle of the hips, and a point as far from it as the body reaches; they define the next region."""
PRESENT_FROM = 0.5
FORGET_AFTER_NS = 1_000_000_000
STRIDES = (8, 16, 32, 32, 32)
MASK = 2
"""The unused mask output of the published model; the next line gives the positions of the others once it is removed."""
POINTS, PRESENCE, HEAT, WORLD = 0, 1, 2, 3
GROWN = 1.25
HEATMAP, REACH = 64, 3
REFINED_FROM = 0.5
COUNT_EVERY_NS = 2_000_000_000
"""How often people are counted while one is tracked, as another may have come into view."""
TILTED_FROM, DOUBT_EVERY_NS = math.radians(75), 200_000_000
SAME_PLACE_FROM = 0.3
"""Regions that overlap by more than this belong to the same body."""
IN_THE_PICTURE = Tuning(least_hz=0.05, beta=70.0)
IN_THE_WORLD = Tuning(least_hz=0.1, beta=40.0)
VISIBILITY_WEIGHT = 0.1


class Pose(NamedTuple):
    """`landmarks` float32[33, 3]: x, y as shares (0..1) of the picture, possibly outside it; z on the scale of x.

    `visibility` float32[33] 0..1. `world` float32[33, 3]: metres around the middle of the hips, y down, z away from the
    camera. `score`: confidence that somebody is there; `people`: number of people when last counted.
    """

    landmarks: Floats
    visibility: Floats
    world: Floats
    score: float
    people: int


class PoseDetector:
    """Tracks one person from picture to picture. Used from one thread at a time."""

    def __init__(self, models: Models | None = None, *, size: Complexity = "lite", threads: int = 2) -> None:
        models = models or Models()
        self._detector = Network(models.read("pose_detection"), threads, low=-1.0, high=1.0)
        self._landmarker = Network(without_output(models.read(f"pose_landmark_{size}"), MASK), threads)
        self._anchors = anchors(self._detector.size, STRIDES)
        self._whole = np.empty((self._detector.size, self._detector.size, 3), np.uint8)
        self._crop = np.empty((self._landmarker.size, self._landmarker.size, 3), np.uint8)
        self._picture, self._world = OneEuro(IN_THE_PICTURE), OneEuro(IN_THE_WORLD)
        self._visibility: Floats | None = None
        self._region: Region | None = None
        self._left_at: Region | None = None
        self._last_ns: int | None = None
        self._counted_ns: int | None = None
        self._people = 0

    def reset(self) -> None:
        """Forget the tracked person."""
        self._lose()
        self._left_at = None

    def detect(self, image_bgr: Image, t_ns: int) -> Pose | None:
        """The pose in the picture, uint8[h, w, 3], taken at `t_ns` on any monotonic clock;

        None when nobody is there.
        """
        if self._last_ns is not None and abs(t_ns - self._last_ns) > FORGET_AFTER_NS:
            self.reset()
        self._last_ns = t_ns
        if self._region is None or self._is_time(t_ns, self._region):
            self._counted_ns = t_ns
            seen = self._seen(image_bgr)
            if self._region is None:
                self._region = self._chosen(seen, image_bgr)
            elif (upright := _upright_instead(self._region, seen)) is not None:
                self._lose()
                self._region = upright
        if self._region is None:
            return None
        found = self._look(image_bgr, self._region, t_ns)
        if found is None:
            self._lose()
        return found

    def _is_time(self, t_ns: int, region: Region) -> bool:
        """Whether to run the detector again: more often while the tracked person seems to be lying or upside down."""
        every_ns = DOUBT_EVERY_NS if abs(region.angle) > TILTED_FROM else COUNT_EVERY_NS
        return self._counted_ns is None or t_ns - self._counted_ns >= every_ns

    def _lose(self) -> None:
        self._left_at, self._region, self._visibility = self._region or self._left_at, None, None
        self._picture.reset()
        self._world.reset()

    def _seen(self, image: Image) -> list[Region]:
        """The regions of all people detected, most confident first."""
        seen = whole(image)
        crop(image, seen, self._detector.size, self._whole, border=cv2.BORDER_CONSTANT)
        self._detector.compute(self._whole)
        found = decode(self._detector.output(0), self._detector.output(1), self._anchors, self._detector.size)
        self._people = len(found)
        return [_around(seen.to_picture(one.points[:2])) for one in found]

    def _chosen(self, regions: list[Region], image: Image) -> Region | None:
        """The person tracked a moment ago; otherwise the largest and most central one."""
        if not regions:
            return None
        last, middle = self._left_at, image.shape[1] / 2
        if last is not None and max(last.overlap(region) for region in regions) > 0:
            chosen = max(regions, key=last.overlap)
        else:
            chosen = max(regions, key=lambda one: one.width * (1 - abs(one.x - middle) / (2 * middle)))
        return _upright_instead(chosen, regions) or chosen

    def _look(self, image: Image, region: Region, t_ns: int) -> Pose | None:
        crop(image, region, self._landmarker.size, self._crop)
        self._landmarker.compute(self._crop)
        score = float(self._landmarker.output(PRESENCE)[0])
        raw = self._landmarker.output(POINTS).reshape(ALL_POINTS, 5)
        world = self._landmarker.output(WORLD).reshape(ALL_POINTS, 3)[:LANDMARKS]
        if not score >= PRESENT_FROM or not np.isfinite(raw).all():
            return None
        share = raw[:, :3] / np.float32(self._landmarker.size)
        share[:, :2] = self._refined(share[:, :2])
        pixels = np.column_stack([region.to_picture(share[:, :2]), share[:, 2] * np.float32(region.width)])
        self._region = _around(pixels[AUXILIARY, :2])
        world[:, :2] = region.turned(world[:, :2])
        smooth = self._picture.apply(pixels[:LANDMARKS], t_ns, region.width)
        height, width = image.shape[:2]
        landmarks = np.asarray(smooth / np.array([width, height, width], np.float32), np.float32)
        return Pose(landmarks, self._seen_well(raw), self._world.apply(world, t_ns), score, max(1, self._people))

    def _seen_well(self, raw: Floats) -> Floats:
        visibility = 1 / (1 + np.exp(-np.clip(raw[:LANDMARKS, 3], -80, 80)))
        before = visibility if self._visibility is None else self._visibility
        self._visibility = (before + VISIBILITY_WEIGHT * (visibility - before)).astype(np.float32)
        return self._visibility

    def _refined(self, share: Floats) -> Floats:
        """Landmarks moved to the weighted centre of their heat map's neighbourhood, where that is confident."""
        cells = (share * HEATMAP).astype(np.int64)
        inside = ((cells >= 0) & (cells < HEATMAP)).all(axis=1)
        around = np.clip(cells, 0, HEATMAP - 1)[:, :, None] + np.arange(-REACH, REACH + 1)
        valid = (around >= 0) & (around < HEATMAP)
        columns, rows = np.clip(around, 0, HEATMAP - 1).transpose(1, 0, 2)
        index = (rows[:, :, None], columns[:, None, :], np.arange(ALL_POINTS)[:, None, None])
        heat = 1 / (1 + np.exp(-np.clip(self._landmarker.gather(HEAT, index), -80, 80)))
        heat *= valid[:, 1, :, None] & valid[:, 0, None, :]
        total = heat.sum(axis=(1, 2))
        x = (heat.sum(axis=1) * columns).sum(axis=1) / np.maximum(total, 1e-9) / HEATMAP
        y = (heat.sum(axis=2) * rows).sum(axis=1) / np.maximum(total, 1e-9) / HEATMAP
        sure = inside & (heat.max(axis=(1, 2)) >= REFINED_FROM)
        return np.where(sure[:, None], np.column_stack([x, y]), share).astype(np.float32)


def _upright_instead(region: Region, seen: list[Region]) -> Region | None:
    """An upright person detected where a tilted one is being tracked.

    An upside-down region keeps confirming itself, because the model finds a body in it either way.
    """
    if abs(region.angle) <= TILTED_FROM:
        return None
    upright = [one for one in seen if abs(one.angle) <= TILTED_FROM and region.overlap(one) >= SAME_PLACE_FROM]
    return max(upright, key=region.overlap, default=None)


def _around(points: Floats) -> Region:
    """The square around a body, from the middle of the hips as far as the body reaches, head up."""
    middle, reach = points
    side = 2 * math.hypot(float(reach[0] - middle[0]), float(reach[1] - middle[1]))
    return Region(float(middle[0]), float(middle[1]), side, side, direction(middle, reach)).grown(GROWN)
