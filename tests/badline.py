"""A lossy line between the relay and one viewer: datagrams pass through here, and a share of them is dropped.

Linux can do this (netem), but not on every machine and only for root; a forwarder works everywhere. In the answer, the
relay's candidate is replaced by the line's, and the viewer's candidates are removed from the offer, so that nothing can
bypass the line.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import Any, Self

from playwright.async_api import Route

from tests.coturn import own_address

_CANDIDATE = re.compile(r"^a=candidate:(\S+) 1 udp (\d+) (\S+) (\d+) typ host.*\r\n", re.MULTILINE)
_ANY_CANDIDATE = re.compile(r"^a=candidate:.*\r\n", re.MULTILINE)


class BadLine:
    """`async with BadLine() as line:`. `loss` (share 0-1, both directions) and `cut` may be changed while it runs;
    `dropped` counts.
    """

    def __init__(self, seed: int = 7) -> None:
        self.loss = 0.0
        self.cut = False
        self.dropped = self.passed = 0
        self._chance = random.Random(seed)
        self._ends: list[asyncio.DatagramTransport] = []
        self._viewer: tuple[str, int] | None = None
        self._relay: tuple[str, int] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        here = (own_address(), 0)
        for take in (self._from_viewer, self._from_relay):
            transport, _ = await loop.create_datagram_endpoint(lambda take=take: _End(take), local_addr=here)
            self._ends.append(transport)
        return self

    async def through(self, route: Route) -> None:
        """For a browser's `page.route`: rewrites its offer to the relay, and the answer on its way back."""
        body = json.loads(route.request.post_data or "")
        answer = await route.fetch(post_data=json.dumps({**body, "sdp": self.offered(body["sdp"])}))
        found = await answer.json()
        await route.fulfill(response=answer, json={**found, "sdp": self.answered(found["sdp"])})

    async def __aexit__(self, *_: object) -> None:
        for transport in self._ends:
            transport.close()

    @staticmethod
    def offered(sdp: str) -> str:
        """The viewer's offer without the viewer's candidates."""
        return _ANY_CANDIDATE.sub("", sdp).replace("a=end-of-candidates\r\n", "")

    def answered(self, sdp: str) -> str:
        """The relay's answer, with this line's near end as the relay's address."""
        host, port = self._ends[0].get_extra_info("sockname")
        found = next(one for one in _CANDIDATE.finditer(sdp) if ":" not in one[3])
        self._relay = found[3], int(found[4])
        ours = f"a=candidate:{found[1]} 1 udp {found[2]} {host} {port} typ host\r\n"
        return _ANY_CANDIDATE.sub("", sdp[: found.start()]) + ours + _ANY_CANDIDATE.sub("", sdp[found.end() :])

    def _from_viewer(self, data: bytes, address: tuple[str, int]) -> None:
        self._viewer = address
        self._pass(1, data, self._relay)

    def _from_relay(self, data: bytes, address: tuple[str, int]) -> None:
        self._pass(0, data, self._viewer)

    def _pass(self, end: int, data: bytes, to: tuple[str, int] | None) -> None:
        if to is None or self.cut or self._chance.random() < self.loss:
            self.dropped += 1
        else:
            self.passed += 1
            self._ends[end].sendto(data, to)


class _End(asyncio.DatagramProtocol):
    def __init__(self, take: Any) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr)
