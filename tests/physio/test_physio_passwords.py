"""Hashes are made beside the event loop, by a bounded number of threads, for a bounded number of people."""

from __future__ import annotations

import asyncio

import pytest

from relay.accounts import passwords
from relay.accounts.passwords import Passwords
from relay.errors import Full, SettingsError

PEOPLE = 12


async def test_the_loop_goes_on_while_people_sign_in() -> None:
    """Counted in turns of the loop, not in time: on the loop, each hash would be one turn."""
    checker = Passwords()
    hashed = checker.hash("correct horse")
    waiting = asyncio.gather(*(checker.verify(hashed, "correct horse") for _ in range(PEOPLE)))
    turns = 0
    while not waiting.done():
        turns += 1
        await asyncio.sleep(0)
    assert await waiting == [True] * PEOPLE
    assert turns > 50 * PEOPLE
    checker.close()


async def test_nobody_and_a_wrong_password_cost_a_hash_too() -> None:
    checker = Passwords()
    assert not await checker.verify(None, "correct horse")
    assert not await checker.verify(checker.hash("correct horse"), "battery staple")
    assert not await checker.verify("no hash at all", "correct horse")
    checker.close()


async def test_more_than_may_wait_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 2)
    checker = Passwords()
    tries = [asyncio.create_task(checker.verify(None, "x")) for _ in range(5)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(one) for one in done] == [bool, bool, Full, Full, Full]
    assert await checker.verify(None, "x") is False
    checker.close()


@pytest.mark.parametrize("password", ["", "too short", "x" * 1025])
def test_what_is_no_password_is_refused_when_it_is_set(password: str) -> None:
    with pytest.raises(SettingsError, match="10 to 1024"):
        Passwords().hash(password)
