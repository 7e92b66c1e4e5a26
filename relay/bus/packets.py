"""The few packets of MQTT 3.1.1 that the relay reads itself, before its broker. Pure: bytes in, values out.

Source: MQTT 3.1.1 (OASIS), sections 2.2 (fixed header), 3.1 (CONNECT), 3.2 (CONNACK), 3.3 (PUBLISH).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

CONNECT, PUBLISH = 1, 3
LEVEL_311, LEVEL_5 = 4, 5
NOT_AUTHORIZED = 5
UNAVAILABLE = 3
_WILL, _PASSWORD, _USERNAME = 0x04, 0x40, 0x80
_KEPT_FLAGS = 0x3E
"""CONNECT flags that are passed on: clean session, will, will QoS, will retain. User name and password are set anew."""


class BadPacket(ValueError):
    """Not MQTT, or longer than allowed."""


@dataclass(frozen=True, slots=True)
class Connect:
    """A client's CONNECT. `will` is its topic and message."""

    level: int
    flags: int
    keepalive: bytes
    client_id: str
    will: tuple[str, bytes] | None = None
    username: str | None = None
    password: str | None = None

    def admitted(self, username: str | None, client_id: str) -> Connect:
        """The same CONNECT with the proved name and a client id of ours, without the password."""
        return replace(self, username=username, client_id=client_id, password=None)

    def packet(self) -> bytes:
        flags = self.flags & _KEPT_FLAGS | (_USERNAME if self.username is not None else 0)
        parts = [_text(b"MQTT"), bytes([self.level, flags]), self.keepalive, _text(self.client_id.encode())]
        if self.will is not None:
            parts += [_text(self.will[0].encode()), _text(self.will[1])]
        if self.username is not None:
            parts.append(_text(self.username.encode()))
        body = b"".join(parts)
        return bytes([CONNECT << 4]) + _length(len(body)) + body


async def read_connect(read: Callable[[int], Awaitable[bytes]], most: int) -> Connect:
    """Read a connection's first packet; `read(n)` returns exactly n bytes. Raises BadPacket."""
    if (await read(1))[0] >> 4 != CONNECT:
        raise BadPacket("the first packet is no CONNECT")
    size = shift = 0
    while True:
        byte = (await read(1))[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if size > most or shift > 28:
            raise BadPacket("the CONNECT is too long")
        if not byte & 0x80:
            break
    return parse_connect(await read(size))


def parse_connect(body: bytes) -> Connect:
    """A CONNECT without its fixed header.

    Of any protocol level but 4 (MQTT 3.1.1) only the level is read. Raises BadPacket.
    """
    try:
        protocol, rest = _take(body)
        level, flags, keepalive = rest[0], rest[1], rest[2:4]
        if protocol != b"MQTT":
            raise BadPacket(f"the protocol calls itself {protocol[:16]!r}")
        if level != LEVEL_311:
            return Connect(level, flags, keepalive, "")
        client_id, rest = _take(rest[4:])
        will = username = password = None
        if flags & _WILL:
            topic, rest = _take(rest)
            message, rest = _take(rest)
            will = (topic.decode(), message)
        if flags & _USERNAME:
            name, rest = _take(rest)
            username = name.decode()
        if flags & _PASSWORD:
            secret, rest = _take(rest)
            password = secret.decode("utf-8", "replace")
        return Connect(level, flags, keepalive, client_id.decode(), will, username, password)
    except (IndexError, UnicodeDecodeError):
        raise BadPacket("the CONNECT is not whole") from None


def refusal(level: int, code: int) -> bytes:
    """A CONNACK that refuses, in the format of the client's protocol version."""
    if level == LEVEL_311:
        return bytes([0x20, 2, 0, code])
    return bytes([0x20, 3, 0, 0x84, 0]) if level >= LEVEL_5 else bytes([0x20, 2, 0, 1])


def topic_of(packet: bytes) -> str | None:
    """The topic of a whole PUBLISH packet; None for any other packet."""
    if not packet or packet[0] >> 4 != PUBLISH:
        return None
    start = 1
    while packet[start] & 0x80:
        start += 1
    topic, _ = _take(packet[start + 1 :])
    return topic.decode("utf-8", "replace")


def _take(data: bytes) -> tuple[bytes, bytes]:
    size = data[0] << 8 | data[1]
    if len(data) < size + 2:
        raise IndexError
    return data[2 : size + 2], data[size + 2 :]


def _text(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, byte = size >> 7, size & 0x7F
        out.append(byte | (0x80 if size else 0))
        if not size:
            return bytes(out)
