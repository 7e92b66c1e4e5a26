"""Letters from hands: what may not matter does not, what a person calibrates helps, damaged weights are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fingerspelling.calibration import refit
from core.fingerspelling.features import COUNT, features
from core.fingerspelling.hand import Floats, normalise, resize
from core.fingerspelling.letters import STATIC, DamagedWeights, LetterReader, Network
from provisioning.letters.sources import Source, recorded
from tests.core.fingerspelling.spelling import held, network, seen

NETWORK = network()
READER = LetterReader(NETWORK)


def turned(hand: Floats, degrees: float) -> Floats:
    angle = np.radians(degrees)
    turn = np.asarray([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
    return np.asarray(hand @ turn.T, np.float32)


@pytest.mark.parametrize("letter", STATIC)
def test_every_letter_is_read_as_it_is_taught(letter: str) -> None:
    assert READER.read(seen(held(letter)), aspect=4 / 3, right=False).likely[0][0] == letter


@given(
    letter=st.sampled_from("BCDFGHIKLOQWXY"),
    scale=st.floats(0.2, 3.0),
    aspect=st.sampled_from([3 / 4, 1.0, 4 / 3, 16 / 9]),
    x=st.floats(-1, 1),
)
def test_distance_place_and_the_pictures_shape_do_not_matter(
    letter: str, scale: float, aspect: float, x: float
) -> None:
    given_hand = seen(held(letter) * np.float32(scale), place=(x, 0), aspect=aspect)
    assert READER.read(given_hand, aspect=aspect, right=False).likely[0][0] == letter


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_a_tilted_hand_is_read_alike(degrees: float) -> None:
    read = [READER.read(seen(turned(held(one), degrees)), aspect=4 / 3, right=False).likely[0][0] for one in STATIC]
    assert sum(one == letter for one, letter in zip(read, STATIC, strict=True)) >= 21


@pytest.mark.parametrize("letter", "BGLPY")
def test_a_right_hand_is_its_mirror(letter: str) -> None:
    left = READER.read(seen(held(letter)), aspect=4 / 3, right=False)
    right = READER.read(seen(held(letter), right=True) * np.asarray([1, 1, 1], np.float32), aspect=4 / 3, right=True)
    assert right.likely[0][0] == left.likely[0][0] == letter


def test_depth_may_be_missing() -> None:
    read = [READER.read(seen(held(one))[:, :2], aspect=4 / 3, right=False).likely[0][0] for one in STATIC]
    assert sum(one == letter for one, letter in zip(read, STATIC, strict=True)) >= 20


def test_a_hand_without_extent_is_unsure_and_no_error() -> None:
    reading = READER.read(np.zeros((21, 3), np.float32), aspect=1.0, right=False)
    assert reading.letter is None
    assert np.isfinite(features(normalise(np.full((1, 21, 3), 0.5), aspect=1.0, mirror=False))).all()
    assert features(np.zeros((2, 21, 3), np.float32)).shape == (2, COUNT)


def test_below_the_calibrated_confidence_nothing_is_claimed() -> None:
    chances = np.full(24, 0.01, np.float32)
    chances[3] = NETWORK.sure - 0.01
    assert READER.judge(chances).letter is None
    chances[3] = NETWORK.sure + 0.01
    assert READER.judge(chances).letter == "D"


def test_weights_are_small_and_survive_packing() -> None:
    data = NETWORK.pack()
    assert len(data) <= 1_000_000
    again = Network.unpack(data)
    assert all(np.array_equal(again.arrays[name], array) for name, array in NETWORK.arrays.items())
    assert (again.temperature, again.sure) == (NETWORK.temperature, NETWORK.sure)


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:100], lambda d: b"XXXX" + d[4:], lambda d: d[:-9]])
def test_damaged_weights_are_refused(damage: object) -> None:
    with pytest.raises(DamagedWeights):
        Network.unpack(damage(NETWORK.pack()))  # type: ignore[operator]


@pytest.fixture(scope="module")
def sources(data_dir: Path) -> list[Source]:
    return recorded(data_dir / "signs" / "landmarks.npz")


def test_recorded_hands_are_brought_to_one_side(sources: list[Source]) -> None:
    for source in sources:
        front = source.hands[np.isin(source.labels, [STATIC.index(one) for one in "BFILVW"])]
        turn = front[:, 5, 0] * front[:, 17, 1] - front[:, 5, 1] * front[:, 17, 0]
        assert (turn > 0).mean() > 0.98, source.name


def test_calibration_makes_a_stranger_readable(sources: list[Source]) -> None:
    """A person nobody trained on: real hands whose fingers are bent otherwise than anybody's."""
    source = next(one for one in sources if one.name == "boris")
    rng = np.random.default_rng(1)
    odd = source.hands + rng.normal(0, 0.09, (1, 21, 3)).astype(np.float32)
    embedded = NETWORK.embed(features(resize(odd - odd[:, :1]), has_z=True))
    rows = [np.flatnonzero(source.labels == one) for one in range(24)]
    shown = np.concatenate([rng.choice(of, 5, replace=False) for of in rows])
    rest = np.setdiff1d(np.arange(len(odd)), shown)

    def accuracy(last: tuple[Floats, Floats]) -> float:
        return float(((embedded[rest] @ last[0] + last[1]).argmax(1) == source.labels[rest]).mean())

    before, after = accuracy(NETWORK.last), accuracy(refit(NETWORK, embedded[shown], source.labels[shown]))
    assert after > before
    assert after > 0.93
