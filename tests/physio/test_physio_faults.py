"""PostgreSQL killed under load and started again: refused with the time to come back, recovered, nothing lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx

from tests.contract.care import BEGAN, PASSWORD, Care, data_of, error_of, frames
from tests.peers_postgres import Postgres
from tests.waiting import PATIENCE_S, until

SENDERS, EACH = 4, 5


class Sender(threading.Thread):
    """Sends bodies of frames into a session of its own, each again and again until it is acknowledged."""

    def __init__(self, care: Care, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        created = care.create()
        self.session, self.url = str(created["session_id"]), created["upload_urls"]["metadata"]
        self.acknowledged = self.refused = 0
        self.wrong: list[str] = []
        self._client, self._end = care.as_("john"), stop

    def run(self) -> None:
        with self._client as client:
            while not self._end.is_set() and not self.wrong:
                body = {"frames": frames(EACH, begin=BEGAN + 1000 * self.acknowledged)}
                try:
                    self._heed(client.post(self.url, json=body))
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))

    def _heed(self, answer: httpx.Response) -> None:
        if answer.status_code == 200:
            self.acknowledged += 1
            return
        self.refused += 1
        if answer.status_code != 503 or int(answer.headers.get("retry-after", 0)) < 1:
            self.wrong.append(f"{answer.status_code} {dict(answer.headers)} {answer.text}")
        time.sleep(0.05)


def test_a_killed_database_is_a_503_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    postgres, stop = Postgres(("full_page_writes=on",)), threading.Event()
    postgres.start()
    try:
        care = Care(tmp_path / "relay", "postgresql", postgres)
        senders = [Sender(care, stop) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        until(lambda: all(sender.acknowledged > 10 for sender in senders), "frames stored before")
        postgres.kill()
        seen = [sender.refused for sender in senders]
        until(
            lambda: all(sender.refused > before + 2 for sender, before in zip(senders, seen, strict=True)), "refusals"
        )
        with care.as_("smith") as client:
            for answer in (
                client.get("/api/physio/patients"),
                client.post("/api/auth/login", json={"email": "john@example.org", "password": PASSWORD}),
            ):
                assert error_of(answer, 503)["code"] == "STORE_UNAVAILABLE"
                assert int(answer.headers["retry-after"]) >= 1
            assert httpx.get(f"{care.relay.http}/readyz", timeout=30).status_code == 503
        postgres.start()
        seen = [sender.acknowledged for sender in senders]
        until(
            lambda: all(sender.acknowledged > before + 10 for sender, before in zip(senders, seen, strict=True)),
            "frames stored afterwards, without a restart of the relay",
        )
        stop.set()
        for sender in senders:
            sender.join(PATIENCE_S)
            assert sender.wrong == []
            stored = care.count(f"SELECT count(*) FROM pose_frames WHERE session_id = '{sender.session}'")
            assert stored == sender.acknowledged * EACH
            with care.as_("smith") as client:
                told = client.get(f"/api/sessions/{sender.session}").json()["pose_data"]["frame_count"]
                assert told == stored
                assert len(data_of(client.get(f"/api/sessions/{sender.session}/frames"))) == min(500, stored)
        assert care.relay.stop() == 0
    finally:
        stop.set()
        postgres.remove()
