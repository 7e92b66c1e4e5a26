"""The heart line on either database: what was sent is what is read."""

from __future__ import annotations

import httpx

from tests.contract.care import Care
from tests.contract.sockets import EPOCH, Socket, sine


async def test_samples_are_kept_whole(care: Care) -> None:
    sent = sine([EPOCH + 10.05 * k for k in range(300)])
    with httpx.Client(base_url=care.relay.http) as http:
        body = http.post("/api/v1/sessions").json()
        async with Socket(body["websocketUrl"]) as patient:
            for start in range(0, len(sent), 50):
                await patient.batch(sent[start : start + 50])
            await patient.status("patient_connected")
            ended = http.post(f"/api/v1/sessions/{body['sessionId']}/end").json()
        assert ended == {"message": "Session ended successfully. 300 samples saved."}
        assert http.get(f"/api/v1/sessions/{body['sessionId']}").json()["samples"] == sent
        assert body["sessionId"] in [line["sessionId"] for line in http.get("/api/v1/sessions").json()["sessions"]]
