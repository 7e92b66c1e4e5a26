"""A serial port in its own thread: reads bytes with their arrival time, and writes between the reads.

The thread timestamps bytes as the kernel delivers them, so a busy event loop does not delay arrival times. What the
loop does not fetch in time is dropped, oldest first, and counted.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import serial

from agent.errors import PortError

READ_TIMEOUT_S = 0.05
"""Longest time a write waits for the read in progress."""
WRITE_TIMEOUT_S = 1.0
MAX_CHUNKS = 1024
"""Ten seconds of a fast sensor; an event loop further behind will not catch up."""
MAX_READ = 4096


class Port:
    """For single use: `start`, then `chunks` until it raises PortError, then `close`."""

    def __init__(self, path: str, baud: int) -> None:
        self.path = path
        self.dropped = 0
        self._baud = baud
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._chunks: deque[tuple[bytes, int]] = deque()
        self._writes: deque[tuple[bytes, Callable[[int], None] | None]] = deque()
        self._stopping = threading.Event()
        self._ended: asyncio.Future[PortError] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=f"serial {path}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def chunks(self, within_s: float) -> list[tuple[bytes, int]]:
        """Wait for bytes, as (bytes, host-monotonic ns) pairs;

        PortError when the port is gone or silent for `within_s`.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._something()
        except TimeoutError:
            text = f"{self.path} is silent for {within_s:.0f} s: is the sensor powered and running?"
            raise PortError(text, path=self.path) from None
        if not self._chunks:
            raise self._ended.result()
        found = []
        with suppress(IndexError):
            while True:
                found.append(self._chunks.popleft())
        return found

    async def _something(self) -> None:
        """Wait for chunks or the end of the port; checked again after `clear`, since the thread may have added some
        meanwhile.
        """
        while True:
            self._news.clear()
            if self._chunks or self._ended.done():
                return
            await self._news.wait()

    def write(self, data: bytes, written: Callable[[int], None] | None = None) -> None:
        """Write between two reads; `written` is called in the port's thread with the time just before the bytes are
        sent.
        """
        self._writes.append((data, written))

    async def close(self) -> None:
        self._stopping.set()
        await asyncio.wait([self._ended], timeout=1.0)

    def _run(self) -> None:
        try:
            with serial.Serial(
                self.path, self._baud, timeout=READ_TIMEOUT_S, write_timeout=WRITE_TIMEOUT_S, exclusive=True
            ) as port:
                while not self._stopping.is_set():
                    self._write(port)
                    data = port.read(min(max(1, port.in_waiting), MAX_READ))
                    if data:
                        self._take(data, time.monotonic_ns())
            ended = PortError(f"{self.path} was closed")
        except (OSError, ValueError, TypeError) as error:
            ended = _explained(self.path, error)
        self._tell(self._end, ended)

    def _write(self, port: serial.Serial) -> None:
        while self._writes:
            data, written = self._writes.popleft()
            if written is not None:
                written(time.monotonic_ns())
            port.write(data)

    def _take(self, data: bytes, arrival_ns: int) -> None:
        if len(self._chunks) >= MAX_CHUNKS:
            with suppress(IndexError):
                self._chunks.popleft()
                self.dropped += 1
        self._chunks.append((data, arrival_ns))
        self._tell(self._news.set)

    def _end(self, error: PortError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
        self._news.set()

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(callback, *arguments)


def _explained(path: str, error: Exception) -> PortError:
    """pyserial's errors as a PortError with the remedy."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return PortError(
            f"{path} is not there: plug the sensor in, or look for its name in /dev/serial/by-id/", path=path
        )
    if number in (errno.EACCES, errno.EPERM):
        return PortError(f"{path} may not be opened: add the user to group dialout and log in again", path=path)
    if number in (errno.EAGAIN, errno.EBUSY):
        return PortError(f"{path} is in use by another program: end it", path=path)
    return PortError(f"{path} was lost: {error}", path=path)
