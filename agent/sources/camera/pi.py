"""A Raspberry Pi's own camera through picamera2, which only Raspberry Pi OS provides (apt install python3-picamera2).

It is imported only when such a camera is opened. The sensor timestamps its pictures.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from agent.errors import CameraError
from agent.sections import Camera
from agent.sources.camera import Picture
from agent.sources.camera.opencv import captured_ns

MISSING = (
    "picamera2 is not here: on Raspberry Pi OS `sudo apt install python3-picamera2`, and an environment made "
    "with --system-site-packages"
)


class PiCamera:
    """The camera on the ribbon cable; libcamera's `RGB888` is stored as blue, green, red."""

    kind = "pi"
    name = "pi camera"

    def __init__(self, settings: Camera, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._settings, self._now = settings, monotonic_ns
        self._camera: Any = None

    def open(self) -> None:
        try:
            maker = importlib.import_module("picamera2").Picamera2
        except ImportError:
            raise CameraError(MISSING, device=self.name) from None
        wanted = self._settings
        try:
            self._camera = maker()
            main = {"size": (wanted.width, wanted.height), "format": "RGB888"}
            self._camera.configure(self._camera.create_video_configuration(main=main, buffer_count=3))
            self._camera.set_controls(self._controls())
            self._camera.start()
        except (RuntimeError, OSError, IndexError) as error:
            self.close()
            raise CameraError(f"the Pi's camera cannot be opened: {error}; is its cable seated?") from None

    def read(self) -> Picture | None:
        try:
            request = self._camera.capture_request()
            try:
                image = np.array(request.make_array("main")[:, :, :3], np.uint8)
                stamp_ns = request.get_metadata().get("SensorTimestamp", 0)
            finally:
                request.release()
        except (RuntimeError, OSError) as error:
            raise CameraError(f"the Pi's camera gives no picture: {error}") from None
        return Picture(image, captured_ns(stamp_ns / 1e6, self._now()))

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _controls(self) -> dict[str, Any]:
        step_us = int(1e6 / self._settings.fps)
        controls: dict[str, Any] = {"FrameDurationLimits": (step_us, step_us)}
        if self._settings.exposure_ms is not None:
            controls |= {"AeEnable": False, "ExposureTime": int(self._settings.exposure_ms * 1000)}
        return controls
