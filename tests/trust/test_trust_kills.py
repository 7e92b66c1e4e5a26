"""A power cut (kill -9) before every act of enrolling and renewing, or a disk that is full at one of them: the next try
completes, or nothing changed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.errors import IdentityUnusable
from agent.identity.enrol import enrol, renew
from agent.identity.exchange import Exchange, trusting
from agent.identity.folder import Held, IdentityFolder
from agent.identity.keys import new_key, pem_of, read_key, request
from agent.identity.settings import read_invitation
from tests.fulldisk import no_file_beyond
from tests.peers import REPO_ROOT
from tests.trust.enrolling import TrustingRelay

MOST = 40
"""More acts than there are; the tests end at the first try that is not killed."""


class Doomed:
    """A process that forks children which die where they are told."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.trust.killed"]
        self._process = subprocess.Popen(
            command, cwd=REPO_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __call__(self, verb: str, state: Path, number: int, said: dict[str, str]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, str(state), number, said]) + "\n")
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def doomed() -> Iterator[Doomed]:
    process = Doomed()
    yield process
    process.close()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustingRelay]:
    running = TrustingRelay(tmp_path_factory.mktemp("kills"))
    yield running
    running.stop()


def whole(state: Path) -> Held | None:
    """The identity on disk; its key fits its certificate if it is there at all."""
    held = IdentityFolder(state).held()
    if held is not None:
        public = held.certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert public == held.key.public_key()
    return held


def test_killed_before_every_act_of_enrolling(relay: TrustingRelay, doomed: Doomed, tmp_path: Path) -> None:
    killed = 0
    for number, invited in enumerate(relay.invite(*(f"kit-{n}" for n in range(1, MOST))), start=1):
        state = tmp_path / invited["kit"]
        outcome = doomed("enrol", state, number, invited)
        whole(state)
        assert doomed("enrol", state, 0, invited) == "done"
        held = whole(state)
        assert held is not None
        assert held.kit == invited["kit"]
        left = {path.name for path in (state / "identity").iterdir()}
        assert left == {"kit.pem", "ca.pem", "agent.toml"}, f"killed before act {number}"
        if outcome == "done":
            break
        assert outcome == "killed"
        killed += 1
    assert killed > 10
    enrolled = [entry["kit"] for entry in relay.audit() if entry["what"] == "enrolled"]
    assert len(enrolled) == len(set(enrolled)) == killed + 1, "one certificate a claim, however often it was asked"


def test_killed_before_every_act_of_renewing(relay: TrustingRelay, doomed: Doomed, tmp_path: Path) -> None:
    (invited,) = relay.invite("renewing")
    assert doomed("enrol", tmp_path, 0, invited) == "done"
    killed = 0
    for number in range(1, MOST):
        before = whole(tmp_path)
        outcome = doomed("renew", tmp_path, number, invited)
        now = whole(tmp_path)
        assert before is not None
        assert now is not None
        assert doomed("renew", tmp_path, 0, invited) == "done"
        after = whole(tmp_path)
        assert after is not None
        assert after.serial != before.serial
        assert not (tmp_path / "identity" / "pending.key").exists()
        if outcome == "done":
            break
        assert outcome == "killed"
        killed += 1
    assert killed > 8


@pytest.mark.parametrize("room", [0, 300, 800], ids=["no-key", "no-authority", "no-certificate"])
def test_a_full_disk_leaves_the_identity_there_was(relay: TrustingRelay, tmp_path: Path, room: int) -> None:
    """The key has 241 bytes, the authority's certificates beyond 500, key and certificates beyond 1,000."""
    (invited,) = relay.invite(f"no-room-{room}")
    folder, invitation = IdentityFolder(tmp_path), read_invitation(None, invited)
    with no_file_beyond(room), pytest.raises(IdentityUnusable, match="File too large"):
        enrol(folder, invitation)
    assert whole(tmp_path) is None
    first = enrol(folder, invitation).held
    exchange = Exchange(relay.url, trusting(folder.authority.read_text()))
    with no_file_beyond(room), pytest.raises(IdentityUnusable, match="File too large"):
        renew(folder, exchange)
    still = whole(tmp_path)
    assert still is not None
    assert still.serial == first.serial
    assert renew(folder, exchange).held.serial != first.serial


def test_a_relay_killed_after_its_answer_still_knows_the_kit(tmp_path: Path) -> None:
    relay = TrustingRelay(tmp_path)
    (invited,) = relay.invite("bedside-01")
    body = {"claim": invited["claim"], "csr": pem_of(request(read_key(new_key()), "bedside-01"))}
    trust = trusting(relay.root.read_text())
    first = httpx.post(f"{relay.url}/identity/v1/enrol", json=body, verify=trust)
    assert first.status_code == 200
    relay.program.kill()
    relay.program = relay.program.again()
    again = httpx.post(f"{relay.url}/identity/v1/enrol", json=body, verify=trust)
    assert again.json()["serial"] == first.json()["serial"]
    relay.stop()
