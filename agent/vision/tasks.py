"""The same detectors by MediaPipe's own Tasks (1.2), for those who prefer its graphs, and for comparison.

The library resolves its maker's host name to report usage, which cannot be switched off. So this module may only be
used in the process without network (see worker.py), and is imported only when chosen.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mediapipe import Image as TaskImage
from mediapipe import ImageFormat
from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.vision import HandLandmarker, HandLandmarkerOptions, PoseLandmarker, PoseLandmarkerOptions
from mediapipe.tasks.python.vision.core.vision_task_running_mode import VisionTaskRunningMode as Mode

from agent.sources.slot import Image
from agent.vision.bundles import Part, bundle
from agent.vision.hands import Hand
from agent.vision.hands import Size as HandSize
from agent.vision.pose import Complexity, Floats, Pose
from agent.vision.weights import Models

SMALLEST = 32
"""The Tasks refuse pictures smaller than this, in which nobody could be recognised anyway."""


class TasksPoseDetector:
    """Like PoseDetector. Tasks require rising times in ms, so each picture is at least 1 ms after the one before."""

    def __init__(self, models: Models | None = None, *, size: Complexity = "lite") -> None:
        self._models, self._size = models or Models(), size
        self._buffer = bundle(
            Part("pose_detector.tflite", self._models.read("pose_detection"), 127.5, 127.5),
            Part("pose_landmarks_detector.tflite", self._models.read(f"pose_landmark_{size}")),
        )
        self._last_ms = -1
        self._task = self._made()

    def reset(self) -> None:
        self._task.close()
        self._task = self._made()

    def detect(self, image_bgr: Image, t_ns: int) -> Pose | None:
        if min(image_bgr.shape[:2]) < SMALLEST:
            return None
        self._last_ms = max(self._last_ms + 1, t_ns // 1_000_000)
        found = self._task.detect_for_video(_picture(image_bgr), self._last_ms)
        if not found.pose_landmarks:
            return None
        marks = found.pose_landmarks[0]
        visibility = np.array([mark.visibility for mark in marks], np.float32)
        score = float(np.mean([mark.presence for mark in marks]))
        return Pose(_points(marks), visibility, _points(found.pose_world_landmarks[0]), score, 1)

    def _made(self) -> Any:
        options = BaseOptions(model_asset_buffer=self._buffer)
        return PoseLandmarker.create_from_options(PoseLandmarkerOptions(options, running_mode=Mode.VIDEO, num_poses=1))


class TasksHandDetector:
    """Like HandDetector."""

    def __init__(self, models: Models | None = None, *, size: HandSize = "full", most: int = 1) -> None:
        models = models or Models()
        self._buffer = bundle(
            Part("hand_detector.tflite", models.read(f"palm_detection_{size}")),
            Part("hand_landmarks_detector.tflite", models.read(f"hand_landmark_{size}")),
        )
        self._most, self._last_ms = most, -1
        self._task = self._made()

    def reset(self) -> None:
        self._task.close()
        self._task = self._made()

    def detect(self, image_bgr: Image, t_ns: int) -> list[Hand]:
        if min(image_bgr.shape[:2]) < SMALLEST:
            return []
        self._last_ms = max(self._last_ms + 1, t_ns // 1_000_000)
        found = self._task.detect_for_video(_picture(image_bgr), self._last_ms)
        hands = []
        for side, marks, world in zip(found.handedness, found.hand_landmarks, found.hand_world_landmarks, strict=True):
            named: Any = side[0].category_name
            hands.append(Hand(_points(marks), _points(world), named, 1.0, float(side[0].score)))
        return hands

    def _made(self) -> Any:
        options = BaseOptions(model_asset_buffer=self._buffer)
        wanted = HandLandmarkerOptions(options, running_mode=Mode.VIDEO, num_hands=self._most)
        return HandLandmarker.create_from_options(wanted)


def _picture(image_bgr: Image) -> Any:
    return TaskImage(image_format=ImageFormat.SRGB, data=cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB))


def _points(marks: Any) -> Floats:
    return np.array([(mark.x, mark.y, mark.z) for mark in marks], np.float32)
