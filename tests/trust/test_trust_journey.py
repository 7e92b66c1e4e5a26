"""The walk of an identity: a claim, a certificate, a stream by mutual TLS, and its end."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.peers import start_homeside
from tests.trust.enrolling import TrustingRelay


def test_a_kit_enrols_streams_by_its_certificate_and_is_revoked(tmp_path: Path) -> None:
    relay = TrustingRelay(tmp_path, "tokens = false\n")
    (invited,) = relay.invite("bedside-01")
    assert relay.enrol(invited, tmp_path / "kit").returncode == 0
    sensor = start_homeside("simulate", "--link", tmp_path / "sensor", "--seed", "5")
    sensor.wait_until((tmp_path / "sensor").exists, "its serial port")
    agent = start_homeside("agent", "--serial", tmp_path / "sensor", "--state", tmp_path / "kit")
    session = relay.program.child.wait_for_event("session_created")
    agent.wait_until(lambda: samples_of(relay.data), "samples at the relay")
    relay.command("kits", "revoke", "bedside-01", "--why", "stolen")
    relay.program.child.wait_for_event("kit_dropped", 30.0)
    relay.program.child.wait_for_event("kit_refused", 30.0)
    assert agent.running, "it keeps measuring, on its own disk"
    assert session["kit"] == "bedside-01"
    agent.end()
    sensor.end()
    relay.stop()


def samples_of(data: Path) -> int:
    with sqlite3.connect(f"file:{next(data.glob('*.db'))}?mode=ro", uri=True) as database:
        found = database.execute("SELECT count(*) FROM scg_chunks").fetchone()
    database.close()
    return int(found[0])
