"""Parse then pack is the same bytes, pack then parse the same message; what is wrong with the rest is said."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from firmware_bridge import commands
from firmware_bridge.commands import Identify, Ping, SetRange, SetRate, parse_command
from firmware_bridge.errors import BridgeError, CommandError, Damage, FrameError
from firmware_bridge.framing import MAX_PAYLOAD, encode
from firmware_bridge.messages import (
    IdentityMessage,
    Message,
    PongMessage,
    ReplyMessage,
    SamplesMessage,
    max_samples,
    parse_message,
)
from firmware_bridge.protocol import MAX_RANGE_G, MAX_RATE_HZ, MAX_US

u32 = st.integers(0, 2**32 - 1)
rates = st.floats(0.0625, MAX_RATE_HZ, width=32)
ranges = st.floats(0.0625, MAX_RANGE_G, width=32)
texts = st.text(max_size=60)


@st.composite
def samples_messages(draw: st.DrawFn) -> SamplesMessage:
    wide = draw(st.booleans())
    count = draw(st.integers(1, max_samples(wide=wide)))
    raw = draw(hnp.arrays(np.dtype("<i4" if wide else "<i2"), (count, 3)))
    first_us = draw(st.integers(0, MAX_US - 1))
    return SamplesMessage(
        draw(u32), first_us, draw(u32), draw(st.integers(1, 2**32 - 1)), draw(rates), draw(ranges), raw
    )


@st.composite
def pongs(draw: st.DrawFn) -> PongMessage:
    received = draw(st.integers(0, MAX_US - 1))
    return PongMessage(draw(u32), received, draw(st.integers(received, MAX_US - 1)))


messages: st.SearchStrategy[Message] = st.one_of(
    samples_messages(),
    pongs(),
    st.builds(
        IdentityMessage,
        texts,
        texts,
        texts,
        st.lists(rates, max_size=20).map(tuple),
        st.lists(ranges, max_size=20).map(tuple),
    ),
    st.builds(
        ReplyMessage,
        st.integers(0, 255),
        st.integers(0, 255),
        st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
)


@given(messages)
def test_messages_pack_and_parse_without_loss(message: Message) -> None:
    payload = message.pack()
    found = parse_message(payload)
    assert found.pack() == payload
    if isinstance(message, SamplesMessage):
        assert isinstance(found, SamplesMessage)
        assert np.array_equal(found.raw, message.raw)
        assert found.raw.dtype == message.raw.dtype
        assert msgspec.structs.astuple(found)[:6] == msgspec.structs.astuple(message)[:6]
    else:
        assert found == message


@given(messages, st.data())
def test_any_payload_parses_and_packs_to_itself_or_is_refused(message: Message, data: st.DataObject) -> None:
    payload = bytearray(message.pack())
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, min(40, len(payload)) - 1))] = data.draw(st.integers(0, 255))
    _parses_to_itself_or_is_refused(bytes(payload[: data.draw(st.integers(0, len(payload)))]))
    _parses_to_itself_or_is_refused(bytes(payload))


@given(st.binary(max_size=MAX_PAYLOAD).map(lambda body: b"\x01" + body))
def test_noise_in_a_whole_frame_is_refused_or_law_abiding(payload: bytes) -> None:
    _parses_to_itself_or_is_refused(payload)


@pytest.mark.parametrize("command", [SetRate(100.0), SetRange(2.0), Identify(), Ping(2**32 - 1)])
def test_commands_pack_and_parse_without_loss(command: commands.Command) -> None:
    assert parse_command(command.pack()) == command
    with pytest.raises(FrameError) as caught:
        parse_command(command.pack() + b"x")
    assert caught.value.damage is Damage.LENGTH


def test_a_full_frame_of_samples_fits_and_one_more_does_not() -> None:
    for wide, most in ((False, 165), (True, 82)):
        assert max_samples(wide=wide) == most
        raw = np.zeros((most, 3), dtype=np.int32 if wide else np.int16)
        encode(SamplesMessage(1, 2, 3, 4, 5.0, 6.0, raw).pack())
        with pytest.raises(FrameError):
            encode(SamplesMessage(1, 2, 3, 4, 5.0, 6.0, np.vstack((raw, raw[:1]))).pack())


_GOOD = SamplesMessage(7, 1000, 3, 10_000_000, 100.0, 2.0, np.ones((2, 3), np.int16)).pack()


@pytest.mark.parametrize(
    ("payload", "damage"),
    [
        (b"", Damage.LENGTH),
        (b"\x01", Damage.LENGTH),
        (b"\x02\x01" + _GOOD[2:], Damage.VERSION),
        (b"\x01\x7f", Damage.KIND),
        (b"\x01\x81" + bytes(4), Damage.KIND),
        (_GOOD[:31], Damage.LENGTH),
        (_GOOD[:-1], Damage.LENGTH),
        (_GOOD + b"\0", Damage.LENGTH),
        (_GOOD[:3] + b"\0" + _GOOD[4:32], Damage.LENGTH),
        (_GOOD[:2] + b"\x02" + _GOOD[3:], Damage.VALUE),
        (_GOOD[:8] + b"\xff" * 8 + _GOOD[16:], Damage.VALUE),
        (_GOOD[:20] + bytes(4) + _GOOD[24:], Damage.VALUE),
        (_GOOD[:24] + struct.pack("<f", float("nan")) + _GOOD[28:], Damage.VALUE),
        (_GOOD[:24] + struct.pack("<f", -100) + _GOOD[28:], Damage.VALUE),
        (_GOOD[:28] + struct.pack("<f", float("inf")) + _GOOD[32:], Damage.VALUE),
        (b"\x01\x02\x01", Damage.LENGTH),
        (b"\x01\x02\x01\x00", Damage.LENGTH),
        (b"\x01\x02\x01\x00" + struct.pack("<f", 0) + b"\0\0\0", Damage.VALUE),
        (b"\x01\x02\x00\x00\x00\x00", Damage.LENGTH),
        (b"\x01\x02\x00\x00\x00\x00\x02a", Damage.LENGTH),
        (b"\x01\x02\x00\x00\x00\x00\x00\x00", Damage.LENGTH),
        (b"\x01\x02\x00\x00\x00\x00\x01\xff", Damage.VALUE),
        (b"\x01\x03" + struct.pack("<IQQ", 1, 9, 8), Damage.VALUE),
        (b"\x01\x04\x81\x00" + struct.pack("<f", float("nan")), Damage.VALUE),
    ],
)
def test_what_is_wrong_with_a_payload_is_said(payload: bytes, damage: Damage) -> None:
    with pytest.raises(FrameError) as caught:
        parse_message(payload)
    assert caught.value.damage is damage


@pytest.mark.parametrize(
    "make",
    [
        lambda: commands.set_rate(float("nan")),
        lambda: commands.set_rate(0),
        lambda: commands.set_rate(1e9),
        lambda: commands.set_range(float("inf")),
        lambda: commands.set_range(-2),
        lambda: commands.ping(-1),
        lambda: commands.ping(2**32),
    ],
)
def test_commands_out_of_bounds_are_refused_before_the_wire(make: object) -> None:
    assert callable(make)
    with pytest.raises(CommandError):
        make()


def test_the_documents_examples_are_what_the_code_writes() -> None:
    document = (Path(__file__).parents[2] / "docs" / "serial-frame.md").read_text()
    found = dict(re.findall(r"<!-- example: (\w+) -->\n\n```\n([0-9a-f\s]+)```", document))
    raw = np.array([[-12, 340, 8192], [0, -1, 8200]], dtype=np.int16)
    identity = IdentityMessage("chest-1", "1.0.0", "ADXL355", (100.0, 250.0), (2.048, 4.096, 8.192))
    assert {name: bytes.fromhex(text) for name, text in found.items()} == {
        "samples_payload": SamplesMessage(0x5EED, 1_250_000, 124, 10_000_000, 100.0, 4.0, raw).pack(),
        "samples_frame": encode(SamplesMessage(0x5EED, 1_250_000, 124, 10_000_000, 100.0, 4.0, raw).pack()),
        "identity_frame": encode(identity.pack()),
        "set_rate_frame": commands.set_rate(250),
        "set_range_frame": commands.set_range(2),
        "reply_frame": encode(ReplyMessage(0x81, 0, 250.0).pack()),
        "identify_frame": commands.identify(),
        "ping_frame": commands.ping(7),
        "pong_frame": encode(PongMessage(7, 2_000_000, 2_000_150).pack()),
    }


def _parses_to_itself_or_is_refused(payload: bytes) -> None:
    for parse in (parse_message, parse_command):
        try:
            found = parse(payload)
        except BridgeError:
            continue
        asked = msgspec.structs.astuple(found)[-1:]
        assert found.pack() == payload or (isinstance(found, SetRate | SetRange) and math.isnan(asked[0]))
