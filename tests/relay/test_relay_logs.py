"""What a relay writes about a measurement names sessions and kits, and nothing of the person or the samples."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.contract.sockets import Socket
from tests.programs import RelayProgram

SECRETS = ("7.654321", "-3.210987", "Mozilla-of-Mrs-Smith", "her-own-phone", "super-secret-boot")


async def test_a_relays_log_holds_no_samples_no_devices_no_tokens(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path, "--log-level", "debug")
    body = httpx.post(
        f"{relay.http}/api/v1/sessions?token=super-secret-token", headers={"User-Agent": SECRETS[2]}
    ).json()
    async with Socket(f"{body['websocketUrl']}?role=patient&token=super-secret-token") as patient:
        await patient.send({"type": "device", "payload": {"userAgent": SECRETS[2], "platform": SECRETS[3]}})
        await patient.batch([{"t": 1.0, "ax": 7.654321, "ay": 0, "az": -3.210987}], boot=SECRETS[4], seq=1)
        await patient.message("ack")
        await patient.send('{"type":"samples_batch","payload":{"samples":[{"t":"7.654321","az":1}]}}')
        await patient.message("error")
    httpx.post(f"{relay.http}/api/v1/sessions/{body['sessionId']}/end")
    assert relay.stop() == 0
    text = "\n".join(relay.child.lines)
    assert body["sessionId"] in text
    assert not [secret for secret in (*SECRETS, "super-secret-token") if secret in text]
    for entry in relay.child.entries():
        assert {"event", "level", "timestamp"} <= set(entry), json.dumps(entry)
