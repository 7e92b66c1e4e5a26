"""`homeside net-test` on every rung of the ladder, with Debian's coturn as the STUN and TURN server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import Child, find_peer, start_homeside
from tests.programs import RelayProgram


def own_address() -> str:
    """This machine's own address: aioice leaves loopback out, and so TURN must be elsewhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder, address = tmp_path_factory.mktemp("coturn"), own_address()
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = int(probe.getsockname()[1])
    options = [
        *("-n", "--no-tls", "--no-dtls", "--no-cli", "--lt-cred-mech", "--realm", "homeside", "--user", "kit:secret"),
        *("--listening-ip", address, "--relay-ip", address, "--listening-port", str(port), "--log-file", "stdout"),
        *("--pidfile", str(folder / "pid"), "--userdb", str(folder / "db"), "--allow-loopback-peers"),
    ]
    server = Child([find_peer("turnserver", "coturn"), *options], cwd=folder)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address, port)) == 0

    server.wait_until(listens, "answer of coturn", 20.0)
    yield address, port
    server.kill()


def ladder(*words: str) -> tuple[int, list[dict[str, Any]]]:
    child = start_homeside("net-test", "--json", *words)
    code = child.wait(60.0)
    assert child.lines, "nothing was said"
    return code, json.loads(child.lines[-1])


def test_every_rung_is_tried_and_says_what_it_found(coturn: tuple[str, int], tmp_path: Path) -> None:
    address, port = coturn
    relay = RelayProgram(tmp_path)
    code, rungs = ladder(
        *("--relay", relay.http, "--ice-server", f"stun:{address}:{port}"),
        *("--ice-server", f"turn:{address}:{port},kit,secret"),
        *("--ice-server", f"turn:{address}:{port}?transport=tcp,kit,secret"),
        *("--ice-server", f"turn:{address}:{port},kit,wrong"),
    )
    found = [(rung["name"].split(" ")[0], rung["ok"]) for rung in rungs]
    reached = [(name, True) for name in ("relay", "host", "stun", "turn/udp", "turn/tcp")]
    assert found == [*reached, ("turn/udp", False)]
    assert code == 0
    assert address in rungs[3]["text"]
    assert relay.stop() == 0


def test_no_relay_is_said_and_fails() -> None:
    code, rungs = ladder("--relay", "http://127.0.0.1:9")
    assert code == 1
    assert rungs[0]["ok"] is False
    assert "cannot be reached" in rungs[0]["text"]
