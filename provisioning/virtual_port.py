"""A serial port made of a pseudo-terminal under a name of its own, which can be plugged in and pulled out.

Writing never waits. What nobody reads is dropped, as a UART would, so that a program that opens the port gets current
data; every byte dropped is counted.
"""

from __future__ import annotations

import array
import fcntl
import os
import termios
import tty
from pathlib import Path

from provisioning.errors import LinkTaken, PortUnavailable

READ_AT_ONCE = 65_536
KERNEL_FULL = 4_000
"""Bytes waiting in the terminal's line discipline (which holds 4095) from which the reader counts as too slow."""
PATIENCE_NS = 1_000_000_000
"""A reader that leaves the terminal full for this long is considered gone."""


class VirtualPort:
    """`link` points to the pseudo-terminal while plugged in. `unread_bytes` counts bytes that nobody read."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.unread_bytes = 0
        self._master = self._slave = -1
        self._rest = b""
        self._full_since_ns: int | None = None
        self._ignored = False

    @property
    def plugged_in(self) -> bool:
        return self._master >= 0

    @property
    def device(self) -> str:
        """The pseudo-terminal's own path."""
        return os.ttyname(self._slave)

    def fileno(self) -> int:
        return self._master

    def plug_in(self) -> None:
        """Open a new pseudo-terminal and point the link to it. Raises LinkTaken or PortUnavailable."""
        self._look_at_link()
        try:
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self._point_link()
        except OSError as error:
            self.pull_out()
            raise PortUnavailable(f"no simulated port at {self.link}: {error.strerror}") from None

    def pull_out(self) -> None:
        """Close the pseudo-terminal, which its reader sees as an unplugged cable, and remove the link."""
        if not self.plugged_in:
            return
        if self.link.is_symlink() and str(self.link.readlink()) == self.device:
            self.link.unlink()
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1
        self._rest, self._full_since_ns, self._ignored = b"", None, False

    def read(self) -> bytes:
        """What the host has written, without waiting."""
        try:
            return os.read(self._master, READ_AT_ONCE)
        except OSError:
            return b""

    def write(self, data: bytes, now_ns: int) -> None:
        """Give `data` to the reader. It is written or dropped as a whole, unless the port is pulled out meanwhile."""
        self._flush_unread(now_ns)
        if self._rest:
            self._rest = self._rest[self._put(self._rest) :]
        if self._rest:
            self.unread_bytes += len(data)
            return
        put = self._put(data)
        if put:
            self._rest = data[put:]
        else:
            self.unread_bytes += len(data)

    def _put(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def _flush_unread(self, now_ns: int) -> None:
        waiting = self._waiting()
        if waiting < KERNEL_FULL:
            self._full_since_ns = None
        elif self._full_since_ns is None:
            self._full_since_ns = now_ns
        if self._full_since_ns is not None and now_ns - self._full_since_ns >= PATIENCE_NS:
            self._ignored = True
        if self._ignored and waiting:
            termios.tcflush(self._slave, termios.TCIFLUSH)
            self.unread_bytes += waiting
        elif not waiting:
            self._ignored = False

    def _waiting(self) -> int:
        count = array.array("i", [0])
        fcntl.ioctl(self._slave, termios.FIONREAD, count)
        return count[0]

    def _look_at_link(self) -> None:
        """Check the link: one that leads nowhere was left by a killed simulator and is replaced; anything else is not
        ours.
        """
        if self.link.exists():
            raise LinkTaken(f"{self.link} exists already; remove it, or choose another --link")

    def _point_link(self) -> None:
        fresh = self.link.with_name(f".{self.link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.device)
        fresh.replace(self.link)
