"""The minimum of MQTT 3.1.1 needed for a thousand kits in one process: connect, subscribe, publish at QoS 1, keep
alive.

OASIS MQTT 3.1.1: sections 2.2.3 (lengths), 3.1 (CONNECT), 3.3 (PUBLISH), 3.8 (SUBSCRIBE), 3.12 (PINGREQ).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

KEEPALIVE_S = 4
CONNACK, PUBLISH, PINGRESP = 0x20, 0x30, 0xD0
MAX_PACKET = 1 << 20


def packet(kind: int, body: bytes) -> bytes:
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = rest >> 7, rest & 0x7F
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes((kind,)) + bytes(length) + body


def text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(2) + encoded


class Connection(asyncio.Protocol):
    """One connection. `up` completes when the broker has accepted it; `closed` when it has ended for any reason."""

    def __init__(self, client_id: str, heard: Callable[[bytes], None], password: str = "") -> None:
        loop = asyncio.get_running_loop()
        self.up: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._client_id = client_id
        self._password = password
        self._heard = heard
        self._left = b""
        self._number = 0
        self._quiet_s = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        login = text(self._client_id.rsplit(":", 1)[0]) + text(self._password) if self._password else b""
        flags = 0xC2 if login else 0x02
        head = text("MQTT") + bytes((4, flags)) + KEEPALIVE_S.to_bytes(2)
        transport.write(packet(0x10, head + text(self._client_id) + login))

    def subscribe(self, topic: str) -> None:
        self._transport.write(packet(0x82, self._next() + text(topic) + b"\0"))

    def publish(self, topic: str, payload: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(packet(0x32, text(topic) + self._next() + payload))

    def beat(self) -> None:
        """Call every second: sends pings, and disconnects from a broker that does not answer."""
        self._quiet_s += 1
        if self._quiet_s > KEEPALIVE_S:
            self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(b"\xc0\0")

    def close(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"\xe0\0")
            self._transport.close()

    def _next(self) -> bytes:
        self._number = self._number % 65_535 + 1
        return self._number.to_bytes(2)

    def data_received(self, data: bytes) -> None:
        self._quiet_s = 0
        data, at = self._left + data, 0
        while (found := _split(data, at)) is not None:
            kind, start, at = found
            self._packet(kind, data[start:at])
        self._left = data[at:]
        if len(self._left) > MAX_PACKET:
            self._transport.abort()

    def _packet(self, kind: int, body: bytes) -> None:
        if kind & 0xF0 == PUBLISH:
            after = 2 + int.from_bytes(body[:2]) + (2 if kind & 0x06 else 0)
            self._heard(body[after:])
        elif kind == CONNACK and not self.up.done():
            if body[1:2] == b"\0":
                self.up.set_result(None)
            else:
                self.up.set_exception(ConnectionRefusedError(f"the broker refuses: code {body[1]}"))
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.up.done():
            self.up.set_exception(ConnectionResetError("closed before it was accepted"))
        if not self.closed.done():
            self.closed.set_result(None)


def _split(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Kind, start and end of the packet at `at`, or None while it is incomplete."""
    length = shift = 0
    for index in range(at + 1, min(at + 5, len(data))):
        length |= (data[index] & 0x7F) << shift
        shift += 7
        if not data[index] & 0x80:
            end = index + 1 + length
            return (data[at], index + 1, end) if end <= len(data) else None
    return None
