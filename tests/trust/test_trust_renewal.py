"""A kit's certificate in its time: renewed at two thirds of its life, by a new key, and told of meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import EnrolRefused
from agent.identity.folder import Held, IdentityFolder
from agent.identity.renewal import Renewal
from relay.identity.authority import PEM, own_authority
from tests.trust.attackers import Client
from tests.trust.enrolling import TrustingRelay

DAY_MS = 86_400_000
LIFE = timedelta(days=90)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustingRelay]:
    running = TrustingRelay(tmp_path_factory.mktemp("renewal"))
    yield running
    running.stop()


def aged(relay: TrustingRelay, folder: IdentityFolder, days: float) -> Held:
    """The same kit and key, as if it had enrolled so many days ago."""
    held, now = folder.held(), datetime.now(UTC)
    assert held is not None
    authority = own_authority(relay.data / "authority", now)
    made = authority.issue_kit(held.key.public_key(), held.kit, now - timedelta(days=days), LIFE)
    key = folder.whole.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")[0]
    folder.whole.write_bytes(key + made.public_bytes(PEM) + authority.issuer.public_bytes(PEM))
    dates = [f"{moment:%Y-%m-%d %H:%M:%S.%f}" for moment in (made.not_valid_before_utc, made.not_valid_after_utc)]
    row = (f"{made.serial_number:x}", *dates, made.public_bytes(PEM).decode(), held.kit)
    with closing(sqlite3.connect(relay.data / "relay.db", timeout=20)) as database, database:
        words = "UPDATE identity_certificates SET serial = ?, not_before = ?, not_after = ?, pem = ? WHERE kit = ?"
        assert database.execute(words, row).rowcount == 1
    found = folder.held()
    assert found is not None
    return found


@pytest.mark.parametrize(("days", "renewed"), [(59, False), (61, True), (89, True), (119, True)])
def test_a_certificate_is_renewed_at_two_thirds_of_its_life(
    relay: TrustingRelay, tmp_path: Path, days: int, renewed: bool
) -> None:
    """Also one that ended, as long as the relay's grace of thirty days lasts: a kit that lay in a drawer."""
    kit = f"aged-{days}"
    relay.install(kit, tmp_path)
    folder = IdentityFolder(tmp_path)
    old, renewal = aged(relay, folder, days), Renewal(folder, relay.url)
    told = renewal.told()
    assert told is not None
    assert abs(told.ends_ms - told.renew_ms - 30 * DAY_MS) < DAY_MS / 24, "it begins an hour early, for clocks"
    assert renewal.look() is renewed
    now = folder.held()
    assert now is not None
    assert (now.serial != old.serial) is renewed
    assert (now.key.public_key() != old.key.public_key()) is renewed
    assert ("renewed" in [entry["what"] for entry in relay.audit() if entry["kit"] == kit]) is renewed
    client = Client(relay.program.mqtt_port, identity=folder.whole, ca=relay.root)
    assert client.admitted()
    client.close()
    assert renewal.look() is False, "once is enough"


def test_beyond_the_grace_a_kit_needs_a_new_claim(relay: TrustingRelay, tmp_path: Path) -> None:
    relay.install("forgotten", tmp_path)
    folder = IdentityFolder(tmp_path)
    old = aged(relay, folder, 121)
    with pytest.raises(EnrolRefused, match="new claim"):
        Renewal(folder, relay.url).look()
    still = folder.held()
    assert still is not None
    assert still.serial == old.serial


async def test_why_it_could_not_be_renewed_is_told(relay: TrustingRelay, tmp_path: Path) -> None:
    relay.install("told", tmp_path)
    folder = IdentityFolder(tmp_path)
    renewal = Renewal(folder, relay.url)
    await renewal.try_to()
    assert renewal.told().problem == ""  # type: ignore[union-attr]
    aged(relay, folder, 121)
    await renewal.try_to()
    assert "new claim" in renewal.told().problem  # type: ignore[union-attr]
    folder.whole.write_text("torn")
    assert "damaged" in renewal.told().problem  # type: ignore[union-attr]
