"""The packets the door reads: what clients really send is understood, what nobody should send is refused in words."""

from __future__ import annotations

import paho.mqtt.client as mqtt
import pytest
from amqtt.adapters import BufferReader
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.publish import PublishPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.bus.packets import BadPacket, Connect, parse_connect, read_connect, refusal, topic_of

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=40)


async def read(packet: bytes, most: int = 65_536) -> Connect:
    return await read_connect(BufferReader(packet).read, most)


@settings(max_examples=60)
@given(client_id=NAMES, will=st.none() | st.tuples(NAMES, st.binary(max_size=300)), username=st.none() | NAMES)
async def test_what_is_written_anew_is_what_amqtt_reads(
    client_id: str, will: tuple[str, bytes] | None, username: str | None
) -> None:
    flags = 0x02 | (0x04 | 0x20 | 0x08 if will else 0)
    said = Connect(4, flags, b"\x00\x0f", "", will, "somebody", "a secret").admitted(username, client_id)
    packet = said.packet()
    theirs = await ConnectPacket.from_stream(BufferReader(packet))
    assert theirs.client_id == client_id
    assert theirs.username == username
    assert theirs.password is None
    assert theirs.clean_session_flag
    assert theirs.keep_alive == 15
    assert (theirs.will_topic, theirs.will_message) == (will or (None, None))
    assert await read(packet) == said.__class__(
        4, said.flags & 0x3E | (0x80 if username is not None else 0), b"\x00\x0f", client_id, will, username
    )


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_a_bad_packet(body: bytes) -> None:
    try:
        parse_connect(body)
    except BadPacket:
        return


def test_a_connect_that_was_cut_short_is_refused_wherever_it_was_cut() -> None:
    whole = Connect(4, 0x06, b"\x00\x0f", "a client", ("a/topic", b"gone"), "bedside-01").packet()[2:]
    assert parse_connect(whole).username == "bedside-01"
    for cut in range(len(whole)):
        with pytest.raises(BadPacket):
            parse_connect(whole[:cut])


async def test_what_is_too_long_or_no_connect_is_refused() -> None:
    with pytest.raises(BadPacket, match="too long"):
        await read(b"\x10\xff\xff\xff\x7f")
    with pytest.raises(BadPacket, match="no CONNECT"):
        await read(b"\x30\x02\x00\x00")


def test_a_topic_is_seen_in_packets_of_any_length() -> None:
    for size in (0, 100, 20_000):
        packet = PublishPacket.build("homeside/v1/bedside-01/ack", b"x" * size, None, False, 0, False)
        assert topic_of(packet.to_bytes()) == "homeside/v1/bedside-01/ack"
    assert topic_of(b"\xd0\x00") is None
    assert topic_of(b"") is None


def test_a_refusal_speaks_the_clients_version() -> None:
    assert refusal(4, mqtt.MQTT_ERR_CONN_REFUSED) == bytes([0x20, 2, 0, mqtt.MQTT_ERR_CONN_REFUSED])
    assert refusal(5, 1) == bytes([0x20, 3, 0, 0x84, 0])
