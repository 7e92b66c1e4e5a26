"""What was opened by a link ends with it, as what was opened by a sign-in ends with that."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import HTTPConnection

from relay.auth import Principal, Role, Tokens
from relay.entrance.access import CLOSE_ENDED, GUARDED, Access
from relay.entrance.standing import Ended, Standing

BEGAN_S = 1_700_000_000.0


class Opened:
    """A socket, or a viewer's video, as far as the relay's access knows it."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    def end(self, code: int, reason: str = "") -> None:
        self.codes.append(code)


class Door:
    """The access to a relay whose clock is moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relay.entrance.access.LOOK_AGAIN_S", 0.01)
        self.now_s = BEGAN_S
        self.standing = Standing()
        self.tokens = Tokens(bytes(32))
        self.access = Access(self.tokens, lambda: self.now_s * 1000, 24, self.standing)

    def opened(self, who: Principal, lifetime_s: float, *, measures: bool = False) -> Opened:
        token = self.tokens.issue(who, now_s=self.now_s, lifetime_s=lifetime_s)
        headers = [(b"authorization", f"Bearer {token}".encode())]
        asked = HTTPConnection({"type": "http", "headers": headers, GUARDED: True})
        one = Opened()
        self.access.hold(one, self.access.principal(asked), measures=measures)
        return one


async def test_what_a_link_opened_ends_with_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    viewer = Principal("link:s", Role.VIEWER, "s")
    late, early = door.opened(viewer, 7200), door.opened(viewer, 3600)
    measuring = door.opened(Principal("link:s", Role.PATIENT, "s"), 3600, measures=True)
    kit = door.opened(Principal("bed-1", Role.KIT), 3600)
    signed_in = door.opened(Principal("anna", Role.PHYSIOTHERAPIST, sign_in="7"), 3600)
    door.now_s += 3599
    await asyncio.sleep(0.05)
    assert not early.codes
    door.now_s += 2
    async with asyncio.timeout(60):
        while not early.codes:
            await asyncio.sleep(0.01)
    assert (early.codes, late.codes) == ([CLOSE_ENDED], [])
    door.now_s += 3600
    async with asyncio.timeout(60):
        while not late.codes:
            await asyncio.sleep(0.01)
    assert [measuring.codes, kit.codes, signed_in.codes] == [[], [], []]
    door.standing.update(Ended(sign_ins=frozenset({"7"})))
    assert signed_in.codes == [CLOSE_ENDED]


async def test_who_left_is_not_held_until_the_link_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    for _ in range(10):
        door.opened(Principal("link:s", Role.VIEWER, "s"), 3600)
    assert len(door.access._held) == 0
