"""The camera named by a setting: `test`, `pi`, a number or /dev/video…, an address, or else a file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from agent.sections import Camera
from agent.sources.camera import Device
from agent.sources.camera.opencv import NetworkCamera, OpenCvCamera, VideoFile
from agent.sources.camera.pi import PiCamera
from agent.sources.camera.picture import TestPicture

NETWORK = frozenset({"rtsp", "rtsps", "http", "https"})


def device_of(settings: Camera) -> Device:
    """The device, not yet opened, for `settings.device`, which must be set."""
    named = settings.device or ""
    if named == "test":
        return TestPicture(settings)
    if named == "pi":
        return PiCamera(settings)
    if named.isdigit() or named.startswith("/dev/"):
        return OpenCvCamera(settings, named)
    if urlsplit(named).scheme in NETWORK:
        return NetworkCamera(settings, named)
    return VideoFile(settings, Path(named))
