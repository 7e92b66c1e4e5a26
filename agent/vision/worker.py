"""The vision process: no network, low priority, one picture at a time; it ends with the agent.

Started by agent.vision.eyes as `python -m agent.vision.worker SOCKET MEMORY BYTES BACKEND THREADS`. It closes its own
network before importing any library that could use one; if that fails, it only answers `Failed`.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
from contextlib import suppress

from agent.errors import VisionError
from agent.vision import sandbox

LOWER_PRIORITY = 5


def work(channel: socket.socket, memory: mmap.mmap, backend: str, threads: int) -> None:
    """Answer requests until the agent closes its end."""
    import cv2

    from agent.vision import messages
    from agent.vision.looker import Looker, detectors_of

    cv2.setNumThreads(1)  # its own pool and LiteRT's would take the cores from each other
    looker = Looker(detectors_of(backend, threads), memory)
    channel.sendall(messages.encode(messages.Ready(os.getpid(), backend)))
    try:
        while asked := channel.recv(messages.MAX_MESSAGE):
            channel.sendall(messages.encode(looker.look(messages.decode_look(asked))))
    except VisionError as error:
        channel.sendall(messages.encode(messages.Failed(error.code, str(error))))


def main(words: list[str]) -> None:
    number, memory, size, backend, threads = words
    channel = socket.socket(fileno=int(number))
    try:
        sandbox.end_with_parent()
        sandbox.close_network()
    except VisionError as error:
        from agent.vision import messages

        channel.sendall(messages.encode(messages.Failed(error.code, str(error))))
        return
    with suppress(OSError):  # under systemd's filter the priority is as it is
        os.nice(LOWER_PRIORITY)
    try:
        with mmap.mmap(int(memory), int(size)) as shared:
            work(channel, shared, backend, int(threads))
    except (BrokenPipeError, ConnectionResetError):
        return  # the agent went first


if __name__ == "__main__":
    main(sys.argv[1:])
