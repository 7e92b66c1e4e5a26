"""Files of recorded accelerations: bytes in, columns in m/s² out.

The content is kept as it is, with its order, duplicates, gaps and odd timestamps, because a replay must reproduce them.
Formats: CSV as logged by phones, NDJSON of `samples_batch` messages, and the Full Session Object; each may be gzipped.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from core.contracts.errors import ContractError, RecordingError
from core.contracts.scg import Columns, Floats, Sample, SamplesBatch, columns, decode_envelope, decode_payload

STANDARD_GRAVITY = 9.80665
"""m/s² per g, exact (3rd CGPM, 1901)."""
MAX_UNPACKED = 1 << 30
"""Bytes a gzipped recording may expand to, against zip bombs; a day at 100 Hz takes about half."""

_TIMES = {"time": 1e-6, "t": 1.0, "seconds_elapsed": 1e3}
"""Time columns of a CSV in order of preference, with the factor to ms: epoch ns, ms, seconds."""
_AXES = (("ax", "ay", "az"), ("x", "y", "z"))
_Unit = Literal["m/s2", "g"]


@dataclass(frozen=True, slots=True)
class Recording:
    """`t_ms` float64[n] in file order; `xyz` float64[n, 3] in m/s² (NaN: not measured); `unit` as written in the file.

    `sampling_rate_hz` is the mean rate outside gaps, computed from the timestamps whatever the file declares.
    """

    t_ms: Floats
    xyz: Floats
    unit: str
    sampling_rate_hz: float

    def __len__(self) -> int:
        return len(self.t_ms)


class _Session(msgspec.Struct):
    """A Full Session Object: samples as objects (0.1) or as tuples (0.2, and the 2.0 that phone apps write)."""

    samples: list[Sample | tuple[float, float | None, float | None, float | None]]
    unit: _Unit = "m/s2"


def parse_recording(data: bytes, name: str) -> Recording:
    """The recording in `data`. `name` gives the format by its extension: .csv, .ndjson or .json, each with or without
    .gz.

    Raises RecordingError, which names the file and, where it applies, the line.
    """
    stem = name.lower()
    try:
        if stem.endswith(".gz"):
            stem, data = stem[:-3], _gunzip(data)
        reader = _READERS.get(stem.rpartition(".")[2], _unknown)
        return _recording(*reader(data))
    except RecordingError as error:
        raise RecordingError(f"{name}: {error}") from None


def sampling_rate(t_ms: Floats) -> float:
    """Samples per second outside gaps (steps over three times the median); timestamps may repeat or be out of order."""
    steps = np.diff(np.sort(t_ms))
    forward = steps[steps > 0]
    if not len(forward):
        raise RecordingError("all samples carry the same time")
    inside = steps[steps <= 3 * np.median(forward)]
    return float(1000 / inside.mean())


def _recording(t: Floats, xyz: Floats, unit: _Unit) -> Recording:
    if len(t) < 2:
        raise RecordingError(f"{len(t)} samples; a recording needs at least two")
    if not np.isfinite(t).all():
        raise RecordingError(f"the time of sample {int(np.argmin(np.isfinite(t))) + 1} is not a finite number")
    if unit == "g":
        xyz = xyz * STANDARD_GRAVITY
    distinct = np.unique(np.column_stack((t, xyz)), axis=0)[:, 0]
    return Recording(t_ms=t, xyz=xyz, unit=unit, sampling_rate_hz=sampling_rate(distinct))


def _gunzip(data: bytes) -> bytes:
    parts, left = [], MAX_UNPACKED
    try:
        while data:
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(data, left))
            left -= len(parts[-1])
            if member.unconsumed_tail or left <= 0:
                raise RecordingError(f"unpacks to more than {MAX_UNPACKED} bytes; cut the recording into parts")
            if not member.eof:
                raise RecordingError("the gzip stream is cut short")
            data = member.unused_data
    except zlib.error as error:
        raise RecordingError(f"not gzip: {error}") from None
    return b"".join(parts)


def _unknown(data: bytes) -> tuple[Floats, Floats, _Unit]:
    raise RecordingError(f"unknown kind of file; read are {', '.join('.' + kind for kind in _READERS)}, each also .gz")


def _read_csv(data: bytes) -> tuple[Floats, Floats, _Unit]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RecordingError(f"not text: {error}") from None
    names = [name.strip().lower() for name in (lines[0] if lines else "").split(",")]
    time = next((name for name in _TIMES if name in names), None)
    axes = next((axes for axes in _AXES if set(axes) <= set(names)), None)
    if time is None or axes is None:
        raise RecordingError(f"line 1 names no time (time, t or seconds_elapsed) and three axes, but {names}")
    if len(lines) < 2:
        raise RecordingError("line 1 is the only one")
    wanted = [names.index(name) for name in (time, *axes)]
    try:
        table = np.loadtxt(lines[1:], delimiter=",", usecols=wanted, ndmin=2, comments=None)
    except (ValueError, IndexError) as error:
        raise RecordingError(f"below line 1: {error}") from None
    return table[:, 0] * _TIMES[time], np.ascontiguousarray(table[:, 1:]), "m/s2"


def _read_ndjson(data: bytes) -> tuple[Floats, Floats, _Unit]:
    batches = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            envelope = decode_envelope(line) if line.strip() else None
            if envelope is not None and envelope.type == "samples_batch":
                batches.append(columns(decode_payload(envelope.payload, SamplesBatch)))
        except ContractError as error:
            raise RecordingError(f"line {number}: {error}") from None
    if not batches:
        raise RecordingError("no line is a samples_batch message")
    t, ax, ay, az = (np.concatenate([getattr(batch, name) for batch in batches]) for name in Columns.__struct_fields__)
    return t, np.column_stack((ax, ay, az)), "m/s2"


def _read_session(data: bytes) -> tuple[Floats, Floats, _Unit]:
    try:
        session = msgspec.json.decode(data, type=_Session)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(f"no Full Session Object: {error}") from None
    rows = [(s.t, s.ax, s.ay, s.az) if isinstance(s, Sample) else s for s in session.samples]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1:]), session.unit


_READERS: dict[str, Callable[[bytes], tuple[Floats, Floats, _Unit]]] = {
    "csv": _read_csv,
    "ndjson": _read_ndjson,
    "json": _read_session,
}
