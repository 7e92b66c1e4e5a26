"""What the relay's video decides from bytes and numbers: keyframes, frames put together, offers, steps of bit rate."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from agent.video.steps import UP_AFTER_S, Steps
from relay.errors import BadOffer
from relay.openapi30 import as_3_0
from relay.process.metrics import Metrics
from relay.video import rules
from relay.video.assembly import PATIENCE, Assembler, Frame
from relay.video.publication import HISTORY, Packet, Publication

KEY, DELTA = b"\x65key", b"\x41delta"


@pytest.mark.parametrize(
    ("codec", "payload", "key"),
    [
        ("H264", b"\x67\x42", True),
        ("H264", b"\x65\x88", True),
        ("H264", b"\x41\x9a", False),
        ("H264", b"\x78\x00\x02\x06\x05\x00\x03\x67\x42\x00", True),
        ("H264", b"\x78\x00\x02\x41\x05\x00\x02\x41\x42", False),
        ("H264", b"\x7c\x85\x88", True),
        ("H264", b"\x7c\x05\x88", False),
        ("H264", b"", False),
        ("VP8", b"\x10\x00\x00", True),
        ("VP8", b"\x10\x01\x00", False),
        ("VP8", b"\x00\x00", False),
        ("VP8", b"\x90\x80\x81\x01\x00", True),
        ("VP8", b"\x90\x80\x81\x01\x01", False),
        ("VP8", b"\x11\x00", False),
        ("VP8", b"\x90", False),
    ],
)
def test_where_a_decoder_may_begin(codec: str, payload: bytes, key: bool) -> None:
    assert rules.starts_keyframe(codec, payload) is key


@given(some.sampled_from(["H264", "VP8"]), some.binary(max_size=40))
def test_no_payload_breaks_the_search(codec: str, payload: bytes) -> None:
    assert rules.starts_keyframe(codec, payload) in (True, False)


@given(some.integers(0, 1 << 30), some.integers(-30_000, 30_000))
def test_a_running_number_is_found_again(last: int, step: int) -> None:
    assert rules.unwrapped(last, (last + step) & 0xFFFF) == last + step


def stream(count: int) -> list[tuple[int, int, int, bytes]]:
    """Frames of two packets, every tenth a key: (index, timestamp, marker, payload)."""
    found = []
    for frame in range(count):
        payload = KEY if frame % 10 == 0 else DELTA
        found += [(2 * frame, 3000 * frame, 0, payload), (2 * frame + 1, 3000 * frame, 1, b"\x41rest")]
    return found


@given(some.randoms(use_true_random=False))
@settings(max_examples=30)
def test_frames_come_whole_and_in_order_whatever_the_network_does(chance: random.Random) -> None:
    first, *packets = stream(40)
    packets.sort(key=lambda packet: packet[0] + chance.uniform(0, 20))
    packets = [first, *packets, *chance.sample(packets, 10)]
    assembler = Assembler("H264")
    frames = [frame for packet in packets for frame in assembler.add(*packet)]
    assert [frame.timestamp for frame in frames] == list(range(0, 3000 * 40, 3000))
    assert [frame.key for frame in frames] == [at % 10 == 0 for at in range(40)]


def test_a_lost_packet_costs_no_more_than_until_the_next_keyframe() -> None:
    assembler, packets = Assembler("H264"), stream(200)
    frames: list[Frame] = [frame for at, packet in enumerate(packets) if at != 5 for frame in assembler.add(*packet)]
    assert frames[0].key
    after = next(frame for frame in frames if frame.timestamp > 3000 * 2)
    assert after.key
    assert len(frames) > 200 - PATIENCE // 2 - 15
    assert assembler.lost == 1


def test_keyframes_are_asked_for_rarely_and_until_one_comes() -> None:
    wish = rules.KeyframeWish(wanted=True)
    asked = [at for at in range(0, 2000, 10) if wish.due(at / 1000)]
    assert len(asked) == 7
    wish.wanted = False
    assert not wish.due(99.0)


def test_most_viewers_count_and_the_worst_does_not() -> None:
    assert rules.share_of([]) is None
    assert rules.share_of([1e6]) == 1e6
    assert rules.share_of([5e4, 1e6, 2e6, 2e6, 2e6]) == 1e6
    assert rules.share_of([1.0] * 10) == rules.LEAST_BPS


def test_bit_rates_go_down_at_once_and_up_slowly() -> None:
    steps = Steps(2_500_000, 1_000_000)
    assert not steps.estimated(300_000, 0.0, sent_bps=100_000)
    assert steps.rate_bps == 1_000_000
    assert steps.estimated(300_000, 1.0, sent_bps=900_000)
    assert steps.rate_bps == 200_000
    changes = [at for at in range(2, 60) if steps.estimated(5e6, float(at), sent_bps=2e5)]
    assert changes[0] >= 2 + UP_AFTER_S
    assert steps.rate_bps == 2_500_000
    assert len(changes) == 5


@given(some.lists(some.floats(1e4, 1e7), min_size=50, max_size=50))
def test_a_wavering_estimate_makes_few_new_encoders(estimates: list[float]) -> None:
    steps = Steps(2_500_000)
    ups = sum(steps.estimated(bps, at / 2, 1e7) and steps.rate_bps > 200_000 for at, bps in enumerate(estimates))
    assert ups <= 50


async def test_one_history_serves_all_repairs() -> None:
    publication = Publication("kit:a", "H264", Metrics())
    for seq in range(65_000, 65_000 + 2 * HISTORY):
        publication.forward(seq & 0xFFFF, seq * 90, 1, DELTA)
    newest = publication._index
    kept = publication.kept(newest & 0xFFFF)
    assert isinstance(kept, Packet)
    assert kept.index == newest
    assert publication.kept((newest - HISTORY) & 0xFFFF) is None
    assert publication.kept((newest + 1) & 0xFFFF) is None


def test_an_estimate_that_wavers_about_what_is_sent_changes_nothing() -> None:
    steps = Steps(2_500_000)
    assert not steps.estimated(91_000, 0.0, sent_bps=94_000)
    assert steps.estimated(80_000, 1.0, sent_bps=94_000)
    assert steps.rate_bps == 200_000


def test_from_the_lowest_rate_the_way_up_is_open() -> None:
    """An estimator that never says more than 1.5 times what comes through must not hold a kit down for ever."""
    steps = Steps(1_600_000, first_bps=200_000)
    for second in range(60):
        steps.estimated(1.5 * steps.rate_bps, float(second), sent_bps=steps.rate_bps)
    assert steps.rate_bps == 1_600_000


@pytest.mark.parametrize("sdp", ["", "x", "v=0\r\n", "v=0\r\n" + "a=b\r\n" * 3000, "v=0\r\nm=audio 9 a 0\r\n"])
def test_an_offer_that_cannot_be_one_is_refused_unparsed(sdp: str) -> None:
    with pytest.raises(BadOffer):
        rules.checked_offer(sdp)


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0.9, application/json;q=0.5", True),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", True),
    ],
)
def test_who_prefers_a_page(accept: str, page: bool) -> None:
    assert rules.prefers_html(accept) is page


def test_a_document_of_3_1_is_said_in_3_0() -> None:
    newer = {
        "openapi": "3.1.0",
        "info": {"title": "a", "version": "1"},
        "paths": {},
        "components": {
            "schemas": {
                "A": {"anyOf": [{"type": "string"}, {"type": "null"}], "examples": ["b"]},
                "B": {"type": ["integer", "null"], "exclusiveMinimum": 0},
                "C": {"const": "x"},
                "D": {"anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}]},
            }
        },
    }
    older = as_3_0(newer)
    assert older["openapi"] == "3.0.3"
    assert older["components"]["schemas"] == {
        "A": {"type": "string", "nullable": True, "example": "b"},
        "B": {"type": "integer", "nullable": True, "minimum": 0, "exclusiveMinimum": True},
        "C": {"enum": ["x"]},
        "D": {"anyOf": [{"$ref": "#/components/schemas/A"}], "nullable": True},
    }
    assert newer["openapi"] == "3.1.0"


def test_a_browser_that_hides_its_addresses_is_waited_for() -> None:
    hidden = "a=candidate:1 1 udp 2122260223 5f0c43a2.local 50000 typ host\r\n"
    shown = "a=candidate:2 1 udp 2122260223 192.0.2.9 50000 typ host\r\n"
    assert rules.without_mdns(f"v=0\r\n{hidden}{shown}a=end-of-candidates\r\n") == f"v=0\r\n{shown}"
