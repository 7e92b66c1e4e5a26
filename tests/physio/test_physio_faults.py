"""PostgreSQL killed under load and started again: refused with the time to come back, recovered, nothing lost."""

from __future__ import annotations

import time
from pathlib import Path

from tests.contract.care import BEGAN, Care, data_of, error_of, frames
from tests.peers_postgres import Postgres

WITHIN_S = 30.0


def test_a_killed_database_is_a_503_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    postgres = Postgres(("full_page_writes=on",))
    postgres.start()
    try:
        care = Care(tmp_path / "relay", "postgresql", postgres)
        created = care.create()
        url, acknowledged, refused = created["upload_urls"]["metadata"], 0, 0
        with care.as_("john") as client:
            for body in range(60):
                if body == 20:
                    postgres.kill()
                if body == 40:
                    postgres.start()
                answer = client.post(url, json={"frames": frames(5, begin=BEGAN + 1000 * body)})
                if answer.status_code == 200:
                    acknowledged += data_of(answer)["frames_stored"]
                else:
                    assert error_of(answer, 503)["code"] == "STORE_UNAVAILABLE"
                    assert int(answer.headers["retry-after"]) >= 1
                    refused += 1
            assert refused >= 20
            deadline = time.monotonic() + WITHIN_S
            while client.get("/api/patients/profile").status_code != 200:
                assert time.monotonic() < deadline, "the relay did not find its database again"
            again = data_of(client.post(url, json={"frames": frames(5, begin=BEGAN + 100_000)}))
        where = f"WHERE session_id = '{created['session_id']}'"
        assert care.count(f"SELECT count(*) FROM pose_frames {where}") == acknowledged + 5 == again["frame_count"]
        assert care.relay.child.running
        assert care.relay.stop() == 0
    finally:
        postgres.remove()
