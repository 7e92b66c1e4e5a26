"""From pictures to committed letters: held, taken once, doubled on purpose, ended by quiet. Time is an argument."""

from __future__ import annotations

from itertools import pairwise

import pytest

from core.fingerspelling.letters import LetterReader
from core.fingerspelling.reader import SignReader
from core.fingerspelling.sequence import BACKSPACE, HOLD_MS, QUIET_MS, SPACE, Sequence, Sight, Taken
from tests.core.fingerspelling.spelling import ASPECT, RATE_MS, Speaker, held, network, seen, spell

READER = LetterReader(network())


def shown(spelling: Sequence, *spans: tuple[str | None, float], t: float = 0.0, **beside: float) -> float:
    """Each sign for so many ms, a picture every 50 ms; gives when it ended."""
    for sign, length_ms in spans:
        for _ in range(int(length_ms / 50)):
            spelling.see(Sight(t, sign, 0.9, hand=sign is not None, **beside))
            t += 50
    return t


def letters(taken: list[Taken]) -> str:
    return "".join(one.sign for one in taken)


def test_a_sign_held_is_taken_once_and_committed_once() -> None:
    spelling = Sequence()
    end = shown(spelling, ("A", 3000))
    assert letters(spelling.letters) == "A"
    assert spelling.quiet(end)
    assert letters(spelling.commit()) == "A"
    shown(spelling, ("A", 3000), t=end)
    assert spelling.letters == []


def test_too_short_is_nothing() -> None:
    spelling = Sequence()
    shown(spelling, ("A", HOLD_MS - 60), (None, 500))
    assert spelling.letters == []


def test_a_release_doubles() -> None:
    spelling = Sequence()
    shown(spelling, ("L", 600), (None, 200), ("L", 600))
    assert letters(spelling.letters) == "LL"


def test_a_blink_or_one_misread_picture_does_not() -> None:
    spelling = Sequence()
    shown(spelling, ("L", 600), (None, 100), ("L", 600), ("I", 50), ("L", 600))
    assert letters(spelling.letters) == "L"


def test_a_slide_to_the_side_doubles() -> None:
    spelling = Sequence()
    end = shown(spelling, ("L", 600))
    for step in range(1, 5):
        spelling.see(Sight(end + 50 * step, "L", 0.9, x=0.2 * step))
    shown(spelling, ("L", 600), t=end + 250, x=0.8)
    assert letters(spelling.letters) == "LL"


def test_a_hand_on_its_way_is_not_read() -> None:
    spelling = Sequence()
    for step in range(20):
        spelling.see(Sight(50.0 * step, "L", 0.9, x=0.1 * step))
    assert spelling.letters == []


def test_quiet_is_counted_from_the_last_new_thing() -> None:
    spelling = Sequence()
    end = shown(spelling, ("A", 600), ("B", 600), (None, 1000))
    assert not spelling.quiet(end)
    assert spelling.quiet(end + QUIET_MS)
    assert not Sequence().quiet(1e9)


def test_an_open_hand_is_a_space_and_a_swipe_takes_back() -> None:
    spelling = Sequence()
    end = shown(spelling, ("A", 500), ("5", 500), ("B", 500))
    assert letters(spelling.letters) == f"A{SPACE}B"
    for step in range(8):
        taken = spelling.see(Sight(end + 300 + 50 * step, "5", 0.9, x=0.3 * step))
        if taken is not None:
            break
    assert taken is not None
    assert taken.sign == BACKSPACE
    assert letters(spelling.letters) == f"A{SPACE}"
    assert letters(spelling.commit()) == "A"


def test_five_beside_digits_is_a_digit() -> None:
    spelling = Sequence()
    shown(spelling, ("4", 500), ("5", 500))
    assert letters(spelling.letters) == "45"


def test_a_doubtful_letter_needs_longer_and_says_so() -> None:
    spelling = Sequence()
    for step in range(30):
        spelling.see(Sight(50.0 * step, None, 0.5, (("S", 0.5), ("T", 0.3))))
    assert letters(spelling.letters) == "S"
    assert spelling.letters[0].t_ms > 600
    assert dict(spelling.letters[0].likely) == pytest.approx({"S": 0.5, "T": 0.3})
    unclear = Sequence()
    for step in range(60):
        unclear.see(Sight(50.0 * step, None, 0.4, (("S", 0.4), ("T", 0.3))))
    assert unclear.letters == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("word", ["HELLO", "COFFEE", "WATER", "HELPME", "THANKYOU", "QUICKBROWNFOX"])
def test_phrases_at_fifteen_pictures_a_second_with_noise(word: str, seed: int, right: bool) -> None:
    speaker = Speaker(seed, right=right)
    found = spell(speaker.pictures(word), READER, right="yes" if right else "no")
    assert [letters(one) for one in found] == [word]


def test_all_ten_digits_are_reached() -> None:
    digits = "3145267890"
    found = spell(Speaker(1).pictures(digits), READER, alphabet="digits")
    assert [letters(one) for one in found] == [digits]


def drawn(sign: str, path: list[tuple[float, float]], ms: float = 900.0) -> str | None:
    """The sign moved along a path of corners, at 15 pictures a second."""
    reader, hand, steps = SignReader(READER), held(sign), int(ms / RATE_MS / (len(path) - 1))
    t, found = 0.0, None
    for (x0, y0), (x1, y1) in pairwise(path):
        for step in range(steps):
            share = step / steps
            place = (x0 + (x1 - x0) * share, y0 + (y1 - y0) * share)
            sight = reader.see(t, seen(hand, place=place), aspect=ASPECT, right=False)
            found = found or (sight.sign if sight.sign in ("J", "Z") else None)
            t += RATE_MS
    place = path[-1]
    sight = reader.see(t, seen(hand, place=place), aspect=ASPECT, right=False)
    return found or (sight.sign if sight.sign in ("J", "Z") else None)


def test_z_is_drawn_by_the_index_finger() -> None:
    corners = [(0.0, 0.0), (0.9, 0.0), (0.0, 0.9), (0.9, 0.9)]
    assert drawn("Z", corners) == "Z"
    assert drawn("Z", [(-x, y) for x, y in corners]) == "Z"
    assert drawn("B", corners) is None
    assert drawn("Z", [(0.0, 0.0), (0.9, 0.0), (0.0, 0.0), (0.9, 0.0)]) is None


def test_j_is_drawn_by_the_little_finger() -> None:
    corners = [(0.0, 0.0), (0.0, 0.4), (0.05, 0.7), (-0.2, 0.9), (-0.45, 0.75), (-0.5, 0.5)]
    assert drawn("J", corners) == "J"
    assert drawn("J", [(0.0, 0.0), (0.0, 0.5), (0.0, 1.0)]) is None
    assert drawn("A", corners) is None
