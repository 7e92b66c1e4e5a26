"""Signing in a cluster: what a session said is known on every relay, once, whichever took it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.cluster.program import ClusterProgram


@pytest.fixture(scope="module")
def relays(cluster: ClusterProgram) -> Iterator[list[httpx.Client]]:
    found = [httpx.Client(base_url=f"{base}/signs/api/v1", timeout=60.0) for base in cluster.relays]
    yield found
    for client in found:
        client.close()


def say(client: httpx.Client, session: str, word: str) -> None:
    answer = client.post("/translate", json={"sign_sequence": [*word], "session_id": session})
    assert answer.status_code == 200, answer.text


def said(client: httpx.Client, session: str) -> list[str]:
    found = client.get(f"/context/{session}").json()
    return ["".join(one["signs"]) for one in found["history"]]


async def test_a_session_goes_on_where_it_was_on_another_relay(relays: list[httpx.Client]) -> None:
    session, words = uuid4().hex, ["HELLO", "THANK", "YOU"]
    for client, word in zip(relays, words, strict=True):
        await asyncio.to_thread(say, client, session, word)
    assert [said(client, session) for client in relays] == [words] * 3
    assert relays[1].delete(f"/context/{session}").status_code == 200
    assert [client.get(f"/context/{session}").status_code for client in relays] == [404] * 3


async def test_what_is_said_through_two_relays_at_once_is_all_kept(relays: list[httpx.Client]) -> None:
    session, words = uuid4().hex, ["ONE", "TWO", "RED", "SIX"]
    for _ in range(2):
        await asyncio.gather(*(asyncio.to_thread(say, relays[k % 2], session, word) for k, word in enumerate(words)))
    assert sorted(said(relays[2], session)) == sorted(words * 2)
