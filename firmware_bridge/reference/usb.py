"""MicroPython. The host over USB serial or the board's first UART: standard input and output as raw bytes."""

import select
import sys

import micropython

MOST_AT_ONCE = 64


class Usb:
    def __init__(self):
        micropython.kbd_intr(-1)  # byte 3 is data here, no Ctrl-C
        self._in, self._out = sys.stdin.buffer, sys.stdout.buffer
        self._poll = select.poll()
        self._poll.register(self._in, select.POLLIN)

    def send(self, data):
        self._out.write(data)

    def receive(self, wait_ms):
        """The bytes received, after waiting at most `wait_ms`."""
        heard = b""
        while len(heard) < MOST_AT_ONCE and self._poll.poll(0 if heard else wait_ms):
            byte = self._in.read(1)
            if not byte:
                break
            heard += byte
        return heard
