"""Samples at rest come back bit for bit, and damage is said, not guessed around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.columns import DamagedColumns, join, pack, unpack
from core.contracts.scg import Columns

_any = st.floats(allow_nan=True, allow_infinity=True)
_decimal = st.integers(-(10**9), 10**9).map(lambda n: n / 1e6)
_column = st.lists(st.one_of(_any, _decimal), min_size=1, max_size=40)


def _columns(values: list[float]) -> Columns:
    column = np.array(values, dtype=np.float64)
    return Columns(t=column, ax=column[::-1].copy(), ay=column * 2, az=np.full(len(column), np.nan))


def _bits(columns: Columns) -> list[bytes]:
    return [getattr(columns, key).tobytes() for key in ("t", "ax", "ay", "az")]


@given(st.one_of(_column, st.lists(_decimal, min_size=1, max_size=40)))
def test_unpack_gives_back_what_was_packed(values: list[float]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        columns = _columns(values)
    assert _bits(unpack(pack(columns))) == _bits(columns)


def test_a_sensors_decimals_take_less_than_a_third() -> None:
    k = np.arange(1000)
    wave = np.round(np.sin(k / 7), 6)
    columns = Columns(t=1721574600000.0 + 10 * k, ax=wave, ay=wave[::-1].copy(), az=np.round(9.81 + wave, 6))
    assert len(pack(columns)) < 4 * 8 * 1000 / 3


@given(st.integers(0, 200), st.binary(max_size=8))
def test_damage_is_said(cut: int, tail: bytes) -> None:
    whole = pack(_columns([1.0, 2.5, 1e300, 7.25]))
    damaged = whole[: min(cut, len(whole) - 1)]
    with pytest.raises(DamagedColumns):
        unpack(damaged)
    assert _bits(unpack(whole + tail)) == _bits(unpack(whole))


def test_join_keeps_the_order() -> None:
    joined = join([_columns([3.0]), _columns([1.0, 2.0])])
    assert joined.t.tolist() == [3.0, 1.0, 2.0]
