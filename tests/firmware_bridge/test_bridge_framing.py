"""A frame survives any split and any neighbour; damage is named, counted, bounded."""

from __future__ import annotations

import zlib

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import Damage, FrameError
from firmware_bridge.framing import KEPT_OF_DAMAGED, MAX_ENCODED, MAX_PAYLOAD, Damaged, Splitter, decode, encode

payloads = st.binary(min_size=1, max_size=MAX_PAYLOAD)


@given(payloads)
def test_a_frame_is_its_payload_and_back(payload: bytes) -> None:
    frame = encode(payload)
    assert frame.strip(b"\0").count(0) == 0
    assert len(frame) <= MAX_ENCODED + 2
    assert decode(frame[1:-1]) == payload
    assert encode(decode(frame[1:-1])) == frame


@given(st.lists(st.one_of(payloads.map(encode), st.binary(max_size=1500))), st.data())
def test_any_split_gives_the_same(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    whole = Splitter()
    expected = whole.feed(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=40)))
    split = Splitter()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += split.feed(stream[start:end])
    assert found == expected
    assert split.damaged == whole.damaged


@given(st.lists(payloads, max_size=8), st.data())
def test_every_whole_frame_is_found_between_any_garbage(sent: list[bytes], data: st.DataObject) -> None:
    splitter = Splitter()
    found = []
    for payload in sent:
        found += splitter.feed(data.draw(st.binary(max_size=2 * MAX_ENCODED)) + encode(payload))
    whole = [item for item in found if isinstance(item, bytes)]
    remaining = iter(whole)
    assert all(any(payload == item for item in remaining) for payload in sent)


def test_byte_by_byte() -> None:
    splitter = Splitter()
    found = [item for byte in encode(b"\0one\0") + encode(b"two") for item in splitter.feed(bytes([byte]))]
    assert found == [b"\0one\0", b"two"]


def test_the_stuffing_of_other_encoders_is_accepted() -> None:
    """After a full group of 254 some encoders add an empty one; both spellings mean the same bytes."""
    payload = next(body for body in (bytes([n]) * 250 for n in range(1, 256)) if 0 not in _sealed(body))
    stuffed = cobs.encode(_sealed(payload))
    assert len(stuffed) == 255
    assert decode(stuffed) == decode(stuffed + b"\x01") == payload


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"\x05ab", Damage.NOT_COBS),
        (b"\x03ab", Damage.CHECKSUM),
        (cobs.encode(_empty := zlib.crc32(b"").to_bytes(4, "little")), Damage.CHECKSUM),
        (b"\x01" * (MAX_ENCODED + 1), Damage.TOO_LONG),
        (cobs.encode(b"payload" + b"\1\2\3\4"), Damage.CHECKSUM),
    ],
)
def test_damage_is_named_and_counted(encoded: bytes, reason: Damage) -> None:
    splitter = Splitter()
    assert splitter.feed(b"\0" + encoded + encode(b"next")) == [Damaged(reason, encoded[:KEPT_OF_DAMAGED]), b"next"]
    assert splitter.damaged == {reason: 1}
    assert reason.sentence.endswith(".")


def test_a_line_without_delimiters_is_one_damage_and_holds_nothing() -> None:
    splitter = Splitter()
    found = [item for _ in range(1000) for item in splitter.feed(b"x" * 1000)]
    assert found == [Damaged(Damage.TOO_LONG, b"x" * KEPT_OF_DAMAGED)]
    assert splitter.feed(encode(b"and on")) == [b"and on"]


def test_breaking_off_forgets_the_frame_begun() -> None:
    splitter = Splitter()
    frame = encode(b"whole")
    splitter.feed(frame[:4])
    splitter.break_off()
    assert splitter.feed(frame) == [b"whole"]
    assert not splitter.damaged


@pytest.mark.parametrize("payload", [b"", bytes(MAX_PAYLOAD + 1)])
def test_payloads_out_of_bounds_are_refused(payload: bytes) -> None:
    with pytest.raises(FrameError, match="1 to 1024"):
        encode(payload)


def _sealed(payload: bytes) -> bytes:
    return payload + zlib.crc32(payload).to_bytes(4, "little")
