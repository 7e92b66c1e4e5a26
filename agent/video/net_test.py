"""Finds out how video can reach the relay: directly, with an address from STUN, or through a TURN server.

Each step has its own deadline and says what it found and what to do. Nothing is sent except to the configured servers.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, NamedTuple

import aioice
from aioice.ice import TransportPolicy
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcicetransport import connection_kwargs

from agent.errors import VideoError
from agent.video import whip
from agent.video.publisher import Target

WITHIN_S = 8.0


class Rung(NamedTuple):
    """One step; `ok` None means that it was not tried, because a setting is missing."""

    name: str
    ok: bool | None
    text: str


async def climb(target: Target | None) -> list[Rung]:
    """All steps, in the order in which a connection prefers them."""
    if target is None:
        return [Rung("relay", None, "no relay is set to show the camera (video.relay, or --relay)")]
    found = await _relay(target)
    stun = [server for server in target.servers if str(server.urls).startswith("stun")]
    turn = [server for server in target.servers if str(server.urls).startswith("turn")]
    found += [await _stun(server) for server in stun] or [Rung("stun", None, "no STUN server is set")]
    found += [await _turn(server) for server in turn] or [Rung("turn", None, "no TURN server is set")]
    return found


def passable(rungs: list[Rung]) -> bool:
    """Whether video would get through: the relay answers, and at least one path to it is open."""
    there = any(rung.ok for rung in rungs if rung.name == "relay")
    return there and any(rung.ok for rung in rungs if rung.name.startswith(("host", "turn")))


async def _relay(target: Target) -> list[Rung]:
    """Ask the relay for its sample stream by WHEP, using only this host's own addresses."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    url = target.url.rsplit("/whip/", 1)[0] + "/whep/sample"
    resource = None
    try:
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        token = target.token()
        answer = await asyncio.to_thread(whip.publish, url, peer.localDescription.sdp, token, target.tls)
        resource = answer.resource
        await peer.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        reached = Rung("relay", True, f"{url} answers")
        return [reached, await _direct(peer)]
    except VideoError as error:
        return [Rung("relay", False, str(error))]
    finally:
        if resource is not None:
            with suppress(VideoError):
                await asyncio.to_thread(whip.delete, resource, target.token(), target.tls)
        await peer.close()


async def _direct(peer: RTCPeerConnection) -> Rung:
    settled = asyncio.Event()
    peer.on("connectionstatechange", settled.set)
    with suppress(TimeoutError):
        async with asyncio.timeout(WITHIN_S):
            while peer.connectionState in ("new", "connecting"):
                settled.clear()
                await settled.wait()
    if peer.connectionState == "connected":
        return Rung("host", True, "UDP goes straight to the relay: no other server is needed")
    return Rung("host", False, "UDP does not reach the relay: open its UDP ports, or set a TURN server")


async def _stun(server: RTCIceServer) -> Rung:
    found = await _gathered([server], TransportPolicy.ALL, "srflx")
    name = f"stun {server.urls}"
    if found is None:
        return Rung(name, False, "does not answer: UDP to it is blocked, or nobody listens there")
    return Rung(name, True, f"this kit is seen as {found}")


async def _turn(server: RTCIceServer) -> Rung:
    found = await _gathered([server], TransportPolicy.RELAY, "relay")
    url = str(server.urls)
    kind = "tls" if url.startswith("turns") else "tcp" if "transport=tcp" in url else "udp"
    if found is None:
        return Rung(f"turn/{kind} {url}", False, "gives no relayed address: blocked, or wrong name and password")
    return Rung(f"turn/{kind} {url}", True, f"relays for this kit at {found}")


async def _gathered(servers: list[RTCIceServer], policy: TransportPolicy, kind: str) -> str | None:
    """The address of the first candidate of this kind, if one was found in time."""
    wanted: dict[str, Any] = connection_kwargs(servers)
    connection = aioice.Connection(ice_controlling=True, transport_policy=policy, **wanted)
    try:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(WITHIN_S):
                await connection.gather_candidates()
        found = next((one for one in connection.local_candidates if one.type == kind), None)
    finally:
        await connection.close()
    return f"{found.host}:{found.port}" if found is not None else None
