"""Heart rates on real recordings, as the live line shows them second by second; no ECG, so against a consensus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.core.signals import scg_recordings as scg

YES = ["s0067r001", "s0088r002", "s0036r001", "s0097r001", "s0068r001", "s0015r001", "s0043r001", "s0023r001"]
YES += ["s0035r001", "s0047r001", "s0076r001", "measurement_3", "measurement_5"]
PARTLY = ["s0003r001", "s0002r001", "s0062r001", "s0021r003"]
NO = ["s0029r001", "s0056r001", "measurement_0"]


def _entry(root: Path, name: str) -> dict[str, object]:
    return next(entry for entry in scg.records(root) if name in str(entry["file"]))


def test_every_record_is_looked_at(data_dir: Path) -> None:
    assert len(scg.records(data_dir)) == len(YES + PARTLY + NO)


@pytest.mark.parametrize("name", YES + PARTLY)
def test_shown_rates_are_near_the_consensus(data_dir: Path, name: str) -> None:
    record = scg.record(data_dir, _entry(data_dir, name))
    seconds = scg.watch(record)
    errors = [
        second.shown.bpm - consensus
        for second in seconds
        if second.shown.bpm is not None and (consensus := scg.consensus_at(record, second.at_s)) is not None
    ]
    assert errors
    assert np.median(np.abs(errors)) <= (2.0 if name in YES else 3.0)
    assert np.max(np.abs(errors)) <= 5.0, "no moment shows half, double or another rhythm"
    if name in YES and record.windows:
        coverage = np.mean([second.shown.bpm is not None for second in seconds])
        assert coverage >= 0.5


@pytest.mark.parametrize("name", NO)
def test_unusable_records_show_no_rate_at_any_moment(data_dir: Path, name: str) -> None:
    record = scg.record(data_dir, _entry(data_dir, name))
    assert record.usable == "no"
    assert all(second.shown.bpm is None for second in scg.watch(record))
