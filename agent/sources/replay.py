"""A recording sent as if it were measured now, with its own spacing and pace.

At speed 1 its first sample is now. At higher speeds it starts far enough in the past that the last sample is sent when
it is due: the spacing stays true at any speed, and no sample lies in the future.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from agent.errors import CommandRefused, RecordingUnusable
from agent.sections import Replay
from agent.sources import Monotonic, Reading, SensorInfo, Sink
from core.contracts.errors import ContractError
from core.contracts.recordings import Recording, parse_recording

log = structlog.get_logger(__name__)

STEP_S = 0.05


class ReplaySource:
    """`run` returns at the end of the recording, or never when it loops."""

    def __init__(self, settings: Replay, path: Path, *, monotonic_ns: Monotonic = time.monotonic_ns) -> None:
        self.name = "replay"
        self._settings, self._path, self._now = settings, path, monotonic_ns
        self._sent = 0
        self._rounds = 0

    async def run(self, sink: Sink) -> None:
        recording = await asyncio.to_thread(self._read)
        sink.sensor(SensorInfo(self._path.name, "recording", round(recording.sampling_rate_hz, 3)))
        log.info("replay_started", samples=len(recording), seconds=round(_length_ms(recording) / 1000, 1))
        begin_ns = self._now()
        while True:
            await self._once(sink, recording, begin_ns)
            self._rounds += 1
            if not self._settings.loop:
                log.info("replay_finished", samples=self._sent)
                return
            begin_ns += int((_length_ms(recording) + 1000 / recording.sampling_rate_hz) * 1e6)

    async def set_rate(self, hz: float) -> float:
        raise CommandRefused(f"a recording has the rate it has; {hz:g} Hz cannot be set")

    async def identify(self) -> SensorInfo:
        return SensorInfo(self._path.name, "recording")

    @property
    def samples(self) -> int:
        return self._sent

    def figures(self) -> dict[str, Any]:
        return {"file": self._path.name, "samples": self._sent, "rounds": self._rounds}

    async def _once(self, sink: Sink, recording: Recording, begin_ns: int) -> None:
        """Send each sample when it is due; samples out of order stay so, and are due with the latest one
        before them.
        """
        speed = self._settings.speed
        offset_ms = recording.t_ms - recording.t_ms.min()
        due_ns = np.maximum.accumulate(offset_ms) * 1e6 / speed
        t_ns = begin_ns - max(0.0, _length_ms(recording) * (1 - 1 / speed)) * 1e6 + offset_ms * 1e6
        at = 0
        while at < len(recording):
            now = self._now()
            until = int(np.searchsorted(due_ns, now - begin_ns, side="right"))
            if until > at:
                sink.samples(Reading(t_ns[at:until], recording.xyz[at:until], arrival_ns=now))
                self._sent += until - at
                at = until
            if at < len(recording):
                await asyncio.sleep(max(STEP_S, (begin_ns + due_ns[at] - now) / 1e9))

    def _read(self) -> Recording:
        try:
            return parse_recording(self._path.read_bytes(), self._path.name)
        except OSError as error:
            raise RecordingUnusable(f"{self._path} cannot be read: {error.strerror}") from None
        except ContractError as error:
            raise RecordingUnusable(str(error)) from None


def _length_ms(recording: Recording) -> float:
    return float(recording.t_ms.max() - recording.t_ms.min())
