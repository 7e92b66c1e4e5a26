"""Stored samples: four columns packed without loss, in as few bytes as their decimal places allow.

Sensors and phones send decimals of a few places. A column whose values are all multiples of 1, 10⁻³ or 10⁻⁶ is kept as
differences of integers in the narrowest width; any other as float64. zlib then compresses the whole.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from core.contracts.errors import ContractError
from core.contracts.scg import Columns, Floats

_HEADER = struct.Struct("<BI")
_COLUMN = struct.Struct("<BBd")
_VERSION = 1
_PLACES = (0, 3, 6)
_RAW = 255
_WIDTHS: tuple[np.dtype[np.signedinteger], ...] = tuple(np.dtype(f"<i{size}") for size in (1, 2, 4, 8))
_EXACT = 2**53
"""Above this a float64 cannot represent every integer, so the scaling could not be undone exactly."""


class DamagedColumns(ContractError):
    """The bytes are not packed columns, or are incomplete."""

    code = "DAMAGED_CHUNK"


def pack(columns: Columns) -> bytes:
    """Columns of equal length n >= 1 as bytes; `unpack` returns the same floats bit for bit, NaN included."""
    parts = [_pack_column(column) for column in (columns.t, columns.ax, columns.ay, columns.az)]
    return _HEADER.pack(_VERSION, len(columns)) + zlib.compress(b"".join(parts), level=6)


def unpack(data: bytes) -> Columns:
    """The columns packed into `data`. Raises DamagedColumns when it is truncated or has another version."""
    try:
        version, count = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise DamagedColumns(f"chunk of version {version}; this program reads {_VERSION}")
        body = zlib.decompress(data[_HEADER.size :])
        offset, columns = 0, []
        for _ in range(4):
            column, offset = _unpack_column(body, offset, count)
            columns.append(column)
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        if isinstance(error, DamagedColumns):
            raise
        raise DamagedColumns(f"chunk is not whole: {error}") from None
    t, ax, ay, az = columns
    return Columns(t=t, ax=ax, ay=ay, az=az)


def join(parts: list[Columns]) -> Columns:
    """Concatenate batches in the order given."""
    if len(parts) == 1:
        return parts[0]
    return Columns(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in ("t", "ax", "ay", "az")}
    )


def _pack_column(values: Floats) -> bytes:
    for place, scale in ((place, 10.0**place) for place in _PLACES):
        whole = _as_integers(values, scale)
        if whole is not None:
            steps = np.diff(whole)
            width = _narrowest(steps)
            return _COLUMN.pack(place, width, float(whole[0])) + steps.astype(_WIDTHS[width]).tobytes()
    return _COLUMN.pack(_RAW, 3, 0.0) + values.astype("<f8").tobytes()


def _as_integers(values: Floats, scale: float) -> NDArray[np.int64] | None:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(values * scale)
        exact = np.isfinite(scaled) & (np.abs(scaled) < _EXACT)
        if not exact.all() or not np.array_equal((scaled / scale).view(np.int64), values.view(np.int64)):
            return None
    return scaled.astype(np.int64)


def _narrowest(steps: NDArray[np.int64]) -> int:
    peak = int(np.abs(steps).max(initial=0))
    return next(index for index, width in enumerate(_WIDTHS) if peak <= np.iinfo(width).max)


def _unpack_column(body: bytes, offset: int, count: int) -> tuple[Floats, int]:
    place, width, first = _COLUMN.unpack_from(body, offset)
    offset += _COLUMN.size
    if place == _RAW:
        end = offset + 8 * count
        return np.frombuffer(body[offset:end], dtype="<f8", count=count).copy(), end
    dtype = _WIDTHS[width]
    end = offset + dtype.itemsize * (count - 1)
    steps = np.frombuffer(body[offset:end], dtype=dtype, count=count - 1).astype(np.int64)
    whole = np.concatenate(([int(first)], steps)).cumsum()
    return whole / 10.0**place, end
