"""Files, USB cameras and network cameras through OpenCV, each with the best capture time it can provide.

A V4L2 camera timestamps its buffers on the monotonic clock; a network camera's pictures are timestamped on arrival; a
file is played at its own pace from the moment it was opened. Addresses with passwords are never shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np

from agent.errors import CameraError, CameraUnusable
from agent.sections import Camera
from agent.sources.camera import Picture
from agent.sources.slot import Image

OPEN_MS, READ_MS = 5_000, 5_000
STAMP_MAY_BE_OLD_NS = 2_000_000_000
MANUAL, AUTO = 1, 3
"""V4L2_EXPOSURE_MANUAL and V4L2_EXPOSURE_APERTURE_PRIORITY, the two modes that UVC cameras support."""
EXPOSURE_UNITS_PER_MS = 10.0
"""V4L2_CID_EXPOSURE_ABSOLUTE is in units of 100 µs."""
LATE_S = 0.1
"""A file's picture later than this is skipped without decoding it to pixels."""


class OpenCvCamera:
    """A USB camera, by device node or number."""

    kind = "v4l2"

    def __init__(self, settings: Camera, node: str, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.name = node
        self._settings, self._now = settings, monotonic_ns
        self._capture = cv2.VideoCapture()

    def open(self) -> None:
        node = int(self.name) if self.name.isdigit() else self.name
        if not self._opened(node, cv2.CAP_V4L2, []):
            raise CameraError(
                f"{self.name} cannot be opened: is the camera plugged in, used by another program, "
                "or closed to this user (group video)?",
                device=self.name,
            )
        wanted = self._settings
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
        self._capture.set(cv2.CAP_PROP_FPS, wanted.fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, AUTO if wanted.exposure_ms is None else MANUAL)
        if wanted.exposure_ms is not None:
            self._capture.set(cv2.CAP_PROP_EXPOSURE, wanted.exposure_ms * EXPOSURE_UNITS_PER_MS)

    def read(self) -> Picture | None:
        image = self._read()
        if image is None:
            raise CameraError(f"{self.name} gives no picture: was the camera unplugged?", device=self.name)
        return Picture(image, captured_ns(self._capture.get(cv2.CAP_PROP_POS_MSEC), self._now()))

    def close(self) -> None:
        self._capture.release()

    def _opened(self, address: int | str, backend: int, options: list[int]) -> bool:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # its own words have addresses in them
        try:
            return self._capture.open(address, backend, options)
        except cv2.error:
            return False

    def _read(self) -> Image | None:
        try:
            there, image = self._capture.read()
        except cv2.error:
            return None
        return np.asarray(image, np.uint8) if there and image is not None and image.size else None


class NetworkCamera(OpenCvCamera):
    """RTSP, or MJPEG and MPEG over HTTP, by address."""

    kind = "network"

    def __init__(self, settings: Camera, address: str, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__(settings, without_secrets(address), monotonic_ns=monotonic_ns)
        self._address = address

    def open(self) -> None:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
        if not self._opened(self._address, cv2.CAP_FFMPEG, limits):
            text = f"{self.name} does not answer: check address, user name and password, and that the camera is on"
            raise CameraError(text, device=self.name)

    def read(self) -> Picture | None:
        image = self._read()
        if image is None:
            raise CameraError(f"{self.name} stopped sending: is the camera still on the network?", device=self.name)
        return Picture(image, self._now())


class VideoFile(OpenCvCamera):
    """A recording played at its own pace as if it happened now; CameraUnusable when it cannot be played at all."""

    kind = "file"

    def __init__(self, settings: Camera, path: Path, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__(settings, path.name, monotonic_ns=monotonic_ns)
        self._path = path
        self._begin_ns = 0
        self._played = 0

    def open(self) -> None:
        if not self._path.is_file():
            raise CameraUnusable(f"{self._path} is not there", device=self.name)
        if not self._opened(str(self._path), cv2.CAP_FFMPEG, []):
            raise CameraUnusable(f"{self._path} is no video that can be played", device=self.name)
        self._begin_ns, self._played = self._now(), 0

    def read(self) -> Picture | None:
        """The next picture when it is due; None at the end, or where nothing more can be decoded."""
        while self._grabbed():
            due_ns = self._begin_ns + int(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            ahead_s = (due_ns - self._now()) / 1e9
            if ahead_s < -LATE_S and self._played:
                continue
            there, image = self._capture.retrieve()
            if not there or image is None or not image.size:
                continue
            self._played += 1
            if ahead_s > 0:
                time.sleep(ahead_s)
            return Picture(np.asarray(image, np.uint8), due_ns)
        if not self._played:
            raise CameraUnusable(f"{self._path} holds no picture", device=self.name)
        return self._again() if self._settings.loop else None

    def _again(self) -> Picture | None:
        self.close()
        self.open()
        return self.read()

    def _grabbed(self) -> bool:
        try:
            return self._capture.grab()
        except cv2.error:
            return False


def captured_ns(stamp_ms: float, arrival_ns: int) -> int:
    """The driver's timestamp if it is plausible on the monotonic clock, else the time of arrival."""
    stamp_ns = int(stamp_ms * 1e6)
    return stamp_ns if 0 <= arrival_ns - stamp_ns < STAMP_MAY_BE_OLD_NS else arrival_ns


def without_secrets(address: str) -> str:
    """An address without user, password and query, so that it may be shown."""
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
