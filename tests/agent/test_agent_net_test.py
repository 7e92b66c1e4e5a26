"""`homeside net-test` on every rung of the ladder, with Debian's coturn as the STUN and TURN server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.coturn import Coturn
from tests.peers import start_homeside
from tests.programs import RelayProgram


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    server = Coturn(tmp_path_factory.mktemp("coturn"))
    yield server
    server.end()


def ladder(*words: str, env: dict[str, str] | None = None) -> tuple[int, list[dict[str, Any]]]:
    child = start_homeside("net-test", "--json", *words, env=env or {})
    code = child.wait(60.0)
    assert child.lines, "nothing was said"
    return code, json.loads(child.lines[-1])


def test_every_rung_is_tried_and_says_what_it_found(coturn: Coturn, tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    code, rungs = ladder(
        *("--relay", relay.http, "--ice-server", coturn.stun),
        *("--ice-server", f"{coturn.turn('udp')},kit,secret"),
        *("--ice-server", f"{coturn.turn('tcp')},kit,secret"),
        *("--ice-server", f"{coturn.turn('tls')},kit,secret"),
        *("--ice-server", f"{coturn.turn('udp')},kit,wrong"),
        env=coturn.trusted,
    )
    found = [(rung["name"].split(" ")[0], rung["ok"]) for rung in rungs]
    reached = [(name, True) for name in ("relay", "host", "stun", "turn/udp", "turn/tcp", "turn/tls")]
    assert found == [*reached, ("turn/udp", False)]
    assert code == 0
    assert coturn.address in rungs[3]["text"]
    assert relay.stop() == 0


def test_an_unknown_authority_closes_the_last_rung(coturn: Coturn, tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    _, rungs = ladder("--relay", relay.http, "--ice-server", f"{coturn.turn('tls')},kit,secret")
    assert [rung["ok"] for rung in rungs if rung["name"].startswith("turn")] == [False]
    assert relay.stop() == 0


def test_no_relay_is_said_and_fails() -> None:
    code, rungs = ladder("--relay", "http://127.0.0.1:9")
    assert code == 1
    assert rungs[0]["ok"] is False
    assert "cannot be reached" in rungs[0]["text"]
