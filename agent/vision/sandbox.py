"""Denies a process all network access, whatever its libraries try: a seccomp filter refuses every new socket.

Set once, before such a library is imported; it cannot be undone and covers all threads and children. What was opened
before (the socket to the agent) keeps working. See seccomp(2); io_uring could bypass it, so it is refused too.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import signal
import socket
import struct
from typing import NamedTuple

from agent.errors import VisionError

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
SECCOMP_MODE_FILTER = 2
RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER_AT, ARCHITECTURE_AT = 0, 4
"""Offsets in struct seccomp_data."""
X32_FROM = 0x40000000
"""From here on, x86_64 has a second set of system call numbers (x32), which nothing here needs."""


class Machine(NamedTuple):
    """A machine's AUDIT_ARCH, and its system call numbers of socket and io_uring_setup."""

    audit: int
    socket: int
    io_uring_setup: int


MACHINES = {
    "x86_64": Machine(0xC000003E, 41, 425),
    "aarch64": Machine(0xC00000B7, 198, 425),
    "armv7l": Machine(0x40000028, 281, 425),
}


def close_network() -> None:
    """Refuse all new sockets in this process from now on. Raises VisionError where that is not possible."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise VisionError(f"pictures are not looked at on {platform.machine()}: its network cannot be closed here")
    libc = ctypes.CDLL(None, use_errno=True)
    program = b"".join(_filter(machine))
    held = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxP" if ctypes.sizeof(ctypes.c_void_p) == 8 else "HxxP", len(program) // 8, _at(held))
    _prctl(libc, PR_SET_NO_NEW_PRIVS, 1)
    _prctl(libc, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(described, len(described)))
    if reaches_network():
        raise VisionError("the network could not be closed to the process that looks at pictures")


def end_with_parent() -> None:
    """Have this process killed when its parent ends, however that happens."""
    _prctl(ctypes.CDLL(None, use_errno=True), PR_SET_PDEATHSIG, signal.SIGKILL)


def reaches_network() -> bool:
    """Whether this process can create a socket of any family that leads outside."""
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        try:
            socket.socket(family, socket.SOCK_STREAM).close()
        except OSError:
            continue
        return True
    return False


def _filter(machine: Machine) -> list[bytes]:
    """The BPF program; jumps give the number of instructions to skip when true and when false."""
    refused = RET_ERRNO | errno.EACCES
    return [
        _step(LOAD, ARCHITECTURE_AT),
        _step(JUMP_IF_EQUAL, machine.audit, 1, 0),
        _step(RETURN, RET_KILL_PROCESS),
        _step(LOAD, NUMBER_AT),
        _step(JUMP_IF_AT_LEAST, X32_FROM, 2, 0),
        _step(JUMP_IF_EQUAL, machine.socket, 1, 0),
        _step(JUMP_IF_EQUAL, machine.io_uring_setup, 0, 1),
        _step(RETURN, refused),
        _step(RETURN, RET_ALLOW),
    ]


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, when_true, when_false, value)


def _at(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _prctl(libc: ctypes.CDLL, option: int, *values: object) -> None:
    if libc.prctl(option, *values, *(0 for _ in range(4 - len(values)))) != 0:
        number = ctypes.get_errno()
        raise VisionError(f"the kernel refuses to close the network to this process: {errno.errorcode.get(number)}")
