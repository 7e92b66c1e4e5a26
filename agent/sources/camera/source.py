"""A running camera: its device in a thread of its own, upright pictures into a slot, silence and unplugging detected.

`run` returns at the end of a recording and raises CameraError when the camera is gone; its supervisor runs it again. A
thread that hangs inside a driver cannot be stopped; while one does, no second one is started.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from agent.errors import CameraError
from agent.sections import Camera
from agent.sources.camera import Device
from agent.sources.camera.upright import upright
from agent.sources.slot import Frame, Slot

log = structlog.get_logger(__name__)

CLOSE_WITHIN_S = 1.0
RATE_OVER = 30


class CameraSource:
    """Pictures from the device returned by `make()`, a new one for each run."""

    def __init__(self, settings: Camera, make: Callable[[], Device], slot: Slot) -> None:
        self.name = "camera"
        self.slot = slot
        self.frames = 0
        self._settings, self._make = settings, make
        self._thread: threading.Thread | None = None
        self._heard = 0.0
        self._size: tuple[int, int] | None = None
        self._times: deque[int] = deque(maxlen=RATE_OVER)
        self._device: Device | None = None

    async def run(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            raise CameraError("the camera's driver hangs; unplug the camera, or restart this kit")
        loop = asyncio.get_running_loop()
        stopping, ended = threading.Event(), loop.create_future()
        self._heard = time.monotonic()
        self._device = self._make()
        words = (self._device, stopping, ended, loop)
        self._thread = threading.Thread(target=self._read, args=words, name="camera", daemon=True)
        self._thread.start()
        try:
            await self._watch(ended)
        finally:
            stopping.set()
            if not ended.done():
                await asyncio.wait([ended], timeout=CLOSE_WITHIN_S)
            if ended.done() and not ended.cancelled():
                ended.exception()

    def figures(self) -> dict[str, Any]:
        """Figures for status; the rate is the measured one."""
        device = self._device
        return {
            "device": device.name if device is not None else None,
            "kind": device.kind if device is not None else None,
            "frames": self.frames,
            "dropped": self.slot.dropped,
            "fps": round(self.fps, 1),
            "size": list(self._size) if self._size is not None else None,
        }

    @property
    def fps(self) -> float:
        """Pictures per second over the last RATE_OVER; 0 when none arrive any more."""
        times = list(self._times)
        if len(times) < 2 or time.monotonic() - self._heard > self._settings.silent_after_s:
            return 0.0
        return (len(times) - 1) * 1e9 / max(1, times[-1] - times[0])

    async def _watch(self, ended: asyncio.Future[None]) -> None:
        """Wait until the thread ends; CameraError when it gives nothing for too long."""
        allowed = self._settings.silent_after_s
        while not ended.done():
            left = self._heard + allowed - time.monotonic()
            if left <= 0:
                raise CameraError(f"the camera gives nothing for {allowed:.0f} s: is it still plugged in?")
            await asyncio.wait([ended], timeout=left)
        ended.result()

    def _read(
        self,
        device: Device,
        stopping: threading.Event,
        ended: asyncio.Future[None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        failure: CameraError | None = None
        try:
            device.open()
            log.info("camera_opened", device=device.name, kind=device.kind)
            while not stopping.is_set() and self._take(device):
                pass
        except CameraError as error:
            failure = error
        finally:
            device.close()
        with suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
            loop.call_soon_threadsafe(_end, ended, failure)

    def _take(self, device: Device) -> bool:
        picture = device.read()
        if picture is None:
            return False
        image = upright(picture.image, self._settings)
        self._heard = time.monotonic()
        self._size = (image.shape[1], image.shape[0])
        self.frames += 1
        self._times.append(picture.captured_ns)
        self.slot.put(Frame(image, picture.captured_ns, self.frames))
        return True


def _end(ended: asyncio.Future[None], failure: CameraError | None) -> None:
    if ended.done():
        return
    if failure is None:
        ended.set_result(None)
    else:
        ended.set_exception(failure)
