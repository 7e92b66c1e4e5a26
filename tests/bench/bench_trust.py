"""Enrolment: the time from a claim to the first stored sample, a thousand kits enrolled four at a time, and how soon a
revoked kit is disconnected. All programs are real and run on this machine's loopback: relay, agent and sensor as
processes, TLS on both ports.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.rows import Row, show
from tests.peers import Child, start_homeside
from tests.trust.attackers import Client
from tests.trust.enrolling import TrustingRelay
from tests.waiting import until

KITS = 1_000
AT_ONCE = 4
GOALS = {"sample": 10.0, "fleet": 300.0, "revoked": 5.0}


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        relay = TrustingRelay(Path(scratch))
        try:
            return [
                Row("claim to first sample stored", _first_sample(relay, Path(scratch)), "s", "goal", GOALS["sample"]),
                Row(f"{KITS} kits enrolled", _fleet(relay, Path(scratch)), "s", "goal", GOALS["fleet"]),
                Row(
                    "revoked kit dropped, broker inside", _revoked(relay, Path(scratch)), "s", "goal", GOALS["revoked"]
                ),
            ]
        finally:
            relay.stop()


def _first_sample(relay: TrustingRelay, scratch: Path) -> float:
    """The kit's commands are started from cold, as at its first boot; the sensor stands ready."""
    sensor = start_homeside("simulate", "--link", scratch / "sensor", "--seed", "5")
    sensor.wait_until((scratch / "sensor").exists, "its serial port")
    (invited,) = relay.invite("first")
    began = time.monotonic()
    assert relay.enrol(invited, scratch / "first").returncode == 0
    agent = start_homeside("agent", "--serial", scratch / "sensor", "--state", scratch / "first")
    _stored(relay, agent)
    took = time.monotonic() - began
    agent.end()
    sensor.end()
    return took


def _stored(relay: TrustingRelay, agent: Child) -> None:
    database = next(relay.data.glob("*.db"))

    def samples() -> int:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as reading:
            found = reading.execute("SELECT count(*) FROM scg_chunks").fetchone()
        reading.close()
        return int(found[0])

    agent.wait_until(samples, "a stored sample", 60.0)


def _fleet(relay: TrustingRelay, scratch: Path) -> float:
    """Each makes its key, asks for the relay's certificates, and spends its claim, over connections of its own."""
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda n: relay.install(f"kit-{n}", scratch / f"kit-{n}"), range(KITS)))
    return time.monotonic() - began


def _revoked(relay: TrustingRelay, scratch: Path) -> float:
    kit = Client(relay.program.mqtt_port, identity=relay.install("thief", scratch / "thief"), ca=relay.root)
    assert kit.admitted()
    began = time.monotonic()
    relay.command("kits", "revoke", "thief")
    until(kit.ended.is_set)
    took = time.monotonic() - began
    kit.close()
    return took


if __name__ == "__main__":
    show("Identities", rows())
