from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from core.contracts import recordings
from core.contracts.errors import RecordingError
from core.contracts.recordings import parse_recording

DATA = os.environ.get("HOMESIDE_DATA")
FILES = sorted((Path(DATA) / "scg").rglob("*.*")) if DATA else []
real = pytest.mark.skipif(not FILES, reason="HOMESIDE_DATA is not set: no real recordings here")
CSV = b"time,seconds_elapsed,z,y,x\n1000000000,0.0,3,2,1\n1010000000,0.01,6,5,4\n1020000000,0.02,9,8,7\n"


def test_csv_columns_go_by_name_not_place() -> None:
    found = parse_recording(CSV, "phone.csv")
    assert found.t_ms.tolist() == [1000, 1010, 1020]
    assert found.xyz.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert found.sampling_rate_hz == pytest.approx(100)


def test_csv_without_epoch_goes_by_seconds() -> None:
    found = parse_recording(b"seconds_elapsed,x,y,z\r\n0.5,0,0,1\r\n0.51,0,0,2\r\n", "A.CSV")
    assert found.t_ms.tolist() == pytest.approx([500, 510])


@pytest.mark.parametrize("tuples", [False, True])
def test_full_session_object_in_both_spellings_and_in_g(tuples: bool) -> None:
    rows = [[0, None, 0, 1.0], [10, 0.5, 0, -1.0]]
    samples = rows if tuples else [dict(zip(("t", "ax", "ay", "az"), row, strict=True)) for row in rows]
    found = parse_recording(json.dumps({"version": "0.2", "unit": "g", "samples": samples}).encode(), "x.json")
    assert found.unit == "g"
    assert found.xyz[:, 2].tolist() == [9.80665, -9.80665]
    assert np.isnan(found.xyz[0, 0])


def test_ndjson_keeps_order_and_passes_over_other_messages() -> None:
    lines = [{"type": "session_started", "payload": {}}, _batch(20, 10), _batch(10, 0)]
    found = parse_recording("\n".join(json.dumps(line) for line in lines).encode(), "x.ndjson")
    assert found.t_ms.tolist() == [20, 10, 10, 0]


def test_two_gzip_members_are_one_file() -> None:
    whole = gzip.compress(CSV[:50]) + gzip.compress(CSV[50:])
    assert len(parse_recording(whole, "phone.csv.gz")) == 3


@pytest.mark.parametrize(
    ("data", "name", "says"),
    [
        (b"", "a.wav", "unknown kind of file"),
        (b"", "a.csv", "line 1 names no time"),
        (b"t,ax,ay,az\n", "a.csv", "line 1 is the only one"),
        (b"t,ax,ay,az\n1,2,3,4\n", "a.csv", "1 samples"),
        (b"t,ax,ay,az\n1,2,3,4\n1,2,3\n", "a.csv", "below line 1"),
        (b"t,ax,ay,az\n1,2,3,4\n1,2,x,3\n", "a.csv", "below line 1"),
        (b"t,ax,ay,az\nnan,2,3,4\n1,2,3,4\n", "a.csv", "the time of sample 1"),
        (b"t,ax,ay,az\n5,2,3,4\n5,3,3,4\n", "a.csv", "the same time"),
        (b"\xff\xfe\x00", "a.csv", "not text"),
        (b"{}", "a.json", "samples"),
        (b'{"samples":[[1,2,3]]}', "a.json", "length 4"),
        (b'{"samples":[]}', "a.json", "0 samples"),
        (b'{"unit":"inch","samples":[]}', "a.json", "inch"),
        (b'\n{"type":"samples_batch","payload":{"samples":[{"t":"x","az":1}]}}', "a.ndjson", "line 2"),
        (b'{"type":"ping"}', "a.ndjson", "no line"),
        (b"{", "a.ndjson", "line 1: not JSON"),
        (b"no gzip", "a.csv.gz", "not gzip"),
        (gzip.compress(CSV, mtime=0)[:-9], "a.csv.gz", "cut short"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(data: bytes, name: str, says: str) -> None:
    with pytest.raises(RecordingError, match=f"{name}.*{says}"):
        parse_recording(data, name)


def test_a_zip_bomb_stops_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MAX_UNPACKED", 1000)
    with pytest.raises(RecordingError, match="more than 1000 bytes"):
        parse_recording(gzip.compress(b"0" * 100_000), "bomb.csv.gz")


@real
@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "mscardio" and p.name.endswith(".csv.gz")])
def test_real_phone_csv(path: Path) -> None:
    known = {Path(row["file"]).name: row for row in json.loads((path.parents[1] / "truth.json").read_text())}
    found = parse_recording(path.read_bytes(), path.name)
    assert len(found) == known[path.name]["n"]
    assert found.sampling_rate_hz == pytest.approx(known[path.name]["rate_hz"], rel=0.005)


@real
@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "openscg" and p.suffix == ".json"])
def test_real_session_objects(path: Path) -> None:
    found = parse_recording(path.read_bytes(), path.name)
    assert (len(found), found.sampling_rate_hz) == (2000, pytest.approx(100))
    assert 5 < np.median(found.xyz[:, 2]) < 11


@real
@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "streams" and ".json" not in p.suffixes])
def test_real_streams(path: Path) -> None:
    found = parse_recording(path.read_bytes(), path.name)
    if "truth" in path.name:
        assert found.sampling_rate_hz == pytest.approx(100)
        return
    scenario = json.loads(path.with_name(path.name.replace(".ndjson.gz", ".json")).read_text())
    assert found.sampling_rate_hz == pytest.approx(scenario["true_rate_hz"], rel=0.06)


def _batch(*times: int) -> dict[str, object]:
    return {"type": "samples_batch", "payload": {"samples": [{"t": t, "az": t / 2} for t in times]}}
