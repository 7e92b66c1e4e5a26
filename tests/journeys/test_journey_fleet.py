"""A fleet from a table to a bad update: cards, enrolment, streams, one kit revoked, some updated, a release undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.fleet import FIRST, Fleet
from tests.provisioning.releases import release
from tests.waiting import until

GOOD, BAD = "1.1.0", "1.2.0"
BROKEN = {"agent/uplink/pace.py": b"raise RuntimeError('a mistake that no test found')\n"}


@pytest.mark.parametrize(("count", "pilots"), [(3, 2), pytest.param(20, 10, marks=pytest.mark.soak)])
@pytest.mark.timeout(900)
def test_from_a_table_to_a_bad_update(tmp_path: Path, count: int, pilots: int) -> None:
    names = [f"home-{number:03}" for number in range(count)]
    fleet = Fleet(tmp_path, names, pilots)
    try:
        assert fleet.provision() == {"kits": count, "written": count, "out": str(tmp_path / "cards")}
        assert fleet.provision()["written"] == 0, "what is done is done twice"
        report = json.loads((tmp_path / "cards" / "report.json").read_text())
        assert [one["kit"] for one in report] == names
        claims = json.loads((tmp_path / "cards" / "claims.json").read_text())
        assert not [code for code in claims.values() if code in (tmp_path / "cards" / "report.csv").read_text()]
        fleet.start()
        seen(
            fleet,
            lambda kits: all(kits[name]["standing"] == "live" and kits[name].get("session") for name in names),
            "all live",
        )

        until(lambda: all(map(fleet.stored, names)), "samples of every kit in the relay's database")

        revoked = names[-1]
        fleet.relay.command("kits", "revoke", revoked, "--why", "stolen")
        seen(fleet, lambda kits: kits[revoked]["standing"] == "away", "the revoked kit gone")

        before = fleet.shown()
        fleet.fleet("publish", release(tmp_path / "new", GOOD))
        fleet.fleet("update", GOOD, "--tag", "pilot")
        bring(fleet, fleet.pilots, GOOD)
        kits = seen(fleet, lambda kits: all(kits[name]["version"] == GOOD for name in fleet.pilots), "them updated")
        assert all(kits[name]["version"] == FIRST for name in names[pilots:])
        seen(fleet, lambda kits: all(kits[name]["standing"] == "live" for name in fleet.pilots), "the pilots live")
        now = fleet.shown()
        assert [now[name]["session"] for name in fleet.pilots] == [before[name]["session"] for name in fleet.pilots]

        fleet.fleet("publish", release(tmp_path / "new", BAD, changes=BROKEN))
        fleet.fleet("update", BAD, "--tag", "pilot")
        bring(fleet, names[:1], BAD)
        kits = seen(
            fleet, lambda kits: kits[names[0]].get("update", {}).get("state") == "rolled_back", "the bad release undone"
        )
        assert kits[names[0]]["version"] == GOOD
        assert "did not come up" in kits[names[0]]["problems"][-1]
        until(lambda: rollouts(fleet)[0]["state"] == "halted", "the rollout to halt by itself")
        assert fleet.kits[names[0]].root.joinpath("current").readlink() == Path("slots/b")
        running = json.loads(fleet.fleet("sbom", "numpy", "--json"))
        assert {one["name"] for one in running["kits"]} >= set(names[:-1])
    finally:
        fleet.close()


def seen(fleet: Fleet, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        kits = fleet.shown()
        return kits if set(fleet.names) <= set(kits) and wanted(kits) else None

    found: dict[str, Any] = until(look, f"{what}: {fleet.shown()}", 120)
    return found


def bring(fleet: Fleet, names: list[str], version: str) -> None:
    for name in names:
        note = fleet.kits[name].state / "update.json"
        until(
            lambda note=note: note.exists() and json.loads(note.read_text())["version"] == version,
            f"a note on {name}",
            90,
        )
        fleet.kits[name].update()


def rollouts(fleet: Fleet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.fleet("update", "--json"))
    return found
