"""Line by line of what the relay promises to keep: ended sessions, samples before a kill, and a clean stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.contract.sockets import EPOCH, Socket, sine
from tests.programs import RelayProgram


async def test_a_session_survives_restart_and_kill(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    body = httpx.post(f"{relay.http}/api/v1/sessions").json()
    sent = sine([EPOCH + 10 * k for k in range(200)])
    async with Socket(f"{body['websocketUrl']}?role=patient") as patient:
        await patient.batch(sent[:100], boot="b", seq=1)
        await patient.message("ack")
        await patient.batch(sent[100:])
        await asyncio.to_thread(httpx.get, f"{relay.http}/api/v1/sessions/{body['sessionId']}")
        relay.kill()
    relay = relay.again()
    session = httpx.get(f"{relay.http}/api/v1/sessions/{body['sessionId']}").json()
    assert session["samples"] == sent
    httpx.post(f"{relay.http}/api/v1/sessions/{body['sessionId']}/end")
    assert relay.stop() == 0
    relay = relay.again()
    session = httpx.get(f"{relay.http}/api/v1/sessions/{body['sessionId']}").json()
    assert session["samples"] == sent
    assert "endedAt" in session
    assert relay.stop() == 0


async def test_a_stop_stores_what_was_just_sent(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    body = httpx.post(f"{relay.http}/api/v1/sessions").json()
    sent = sine([EPOCH + 10 * k for k in range(1000)])
    async with Socket(body["websocketUrl"]) as patient:
        await patient.batch(sent)
        await patient.status("patient_connected")
        assert relay.stop() == 0
    relay = relay.again()
    assert httpx.get(f"{relay.http}/api/v1/sessions/{body['sessionId']}").json()["samples"] == sent
    assert relay.stop() == 0
