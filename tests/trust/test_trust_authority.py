"""The authority: made once, its root's key kept elsewhere, its issuer renewed in time; or somebody else's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from relay.entrance.tls import LIFETIME, own_certificate, server_context
from relay.errors import SettingsError
from relay.identity.authority import ISSUER_LIFE, Authority, own_authority
from tests.trust.attackers import Client
from tests.trust.enrolling import TrustingRelay

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def verified(authority: Authority, leaf: x509.Certificate) -> None:
    leaf.verify_directly_issued_by(authority.issuer)
    authority.issuer.verify_directly_issued_by(authority.root)


def test_an_authority_is_made_once(tmp_path: Path) -> None:
    first, second = own_authority(tmp_path, NOW), own_authority(tmp_path, NOW + DAY)
    assert first.fingerprint == second.fingerprint
    assert first.issuer == second.issuer
    for key in ("root.key", "issuer.key"):
        assert (tmp_path / key).stat().st_mode & 0o777 == 0o600


def test_an_issuer_is_renewed_on_its_key_and_what_it_signed_stays_good(tmp_path: Path) -> None:
    first = own_authority(tmp_path, NOW)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    old = first.issue_kit(key, "bedside-01", NOW, 90 * DAY)
    later = own_authority(tmp_path, NOW + ISSUER_LIFE - 100 * DAY)
    assert later.issuer != first.issuer
    verified(later, old)
    assert later.fingerprint == first.fingerprint


def test_without_the_roots_key_it_signs_until_the_issuer_ends_and_says_how_to_go_on(tmp_path: Path) -> None:
    own_authority(tmp_path, NOW)
    kept = (tmp_path / "root.key").rename(tmp_path / "elsewhere")
    without = own_authority(tmp_path, NOW + ISSUER_LIFE - 100 * DAY)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    leaf = without.issue_kit(key, "bedside-01", NOW + ISSUER_LIFE - 100 * DAY, 200 * DAY)
    assert leaf.not_valid_after_utc <= without.issuer.not_valid_after_utc, "nothing outlives who signed it"
    with pytest.raises(SettingsError, match=r"root\.key"):
        own_authority(tmp_path, NOW + ISSUER_LIFE + DAY)
    kept.rename(tmp_path / "root.key")
    own_authority(tmp_path, NOW + ISSUER_LIFE + DAY)


def test_files_that_do_not_belong_together_are_refused_by_name(tmp_path: Path) -> None:
    own_authority(tmp_path / "a", NOW)
    own_authority(tmp_path / "b", NOW)
    (tmp_path / "a" / "issuer.pem").write_bytes((tmp_path / "b" / "issuer.pem").read_bytes())
    with pytest.raises(SettingsError, match=r"does not match|not signed by"):
        own_authority(tmp_path / "a", NOW)
    (tmp_path / "b" / "issuer.key").write_bytes((tmp_path / "a" / "issuer.key").read_bytes())
    with pytest.raises(SettingsError, match="not the key of"):
        own_authority(tmp_path / "b", NOW)


def test_the_server_certificate_is_made_anew_for_a_new_name_or_near_its_end(tmp_path: Path) -> None:
    authority = own_authority(tmp_path / "authority", NOW)
    path, _ = own_certificate(tmp_path / "tls", authority, [], NOW)
    first = path.read_bytes()
    assert own_certificate(tmp_path / "tls", authority, [], NOW + DAY)[0].read_bytes() == first
    own_certificate(tmp_path / "tls", authority, ["ward.example.org"], NOW)
    second = path.read_bytes()
    names = x509.load_pem_x509_certificate(second).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert "ward.example.org" in names.value.get_values_for_type(x509.DNSName)
    own_certificate(tmp_path / "tls", authority, ["ward.example.org"], NOW + LIFETIME - 10 * DAY)
    assert path.read_bytes() not in (first, second)
    leaf, issuer, root = x509.load_pem_x509_certificates(path.read_bytes())
    verified(Authority(root, issuer, ec.generate_private_key(ec.SECP256R1())), leaf)


def test_a_server_key_that_is_not_the_certificates_is_made_anew_with_it(tmp_path: Path) -> None:
    authority = own_authority(tmp_path / "authority", NOW)
    certificate, key = own_certificate(tmp_path / "tls", authority, [], NOW)
    _, another = own_certificate(tmp_path / "another", authority, [], NOW)
    key.write_bytes(another.read_bytes())
    with pytest.raises(SettingsError, match="do not serve"):
        server_context(certificate, key)
    server_context(*own_certificate(tmp_path / "tls", authority, [], NOW))


def test_a_key_under_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    certificate, key = own_certificate(tmp_path / "tls", own_authority(tmp_path / "authority", NOW), [], NOW)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    sealed = serialization.BestAvailableEncryption(b"shut")
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed))
    with pytest.raises(SettingsError, match="do not serve"):
        server_context(certificate, key)


def test_an_outside_authority_signs_by_configuration_and_the_roots_key_may_leave(tmp_path: Path) -> None:
    own_authority(tmp_path / "outside", NOW)
    files = {name: tmp_path / "outside" / name for name in ("root.pem", "issuer.pem", "issuer.key")}
    more = (
        f'[identity]\nroot = "{files["root.pem"]}"\nissuer = "{files["issuer.pem"]}"\n'
        f'issuer_key = "{files["issuer.key"]}"\n'
    )
    relay = TrustingRelay(tmp_path, more)
    assert not relay.root.exists(), "it made none of its own"
    relay.install("bedside-01", tmp_path / "kit")
    kit = Client(relay.program.mqtt_port, identity=tmp_path / "kit" / "identity" / "kit.pem", ca=files["root.pem"])
    assert kit.admitted()
    kit.close()
    relay.stop()


def test_the_command_takes_the_roots_key_away(tmp_path: Path) -> None:
    relay = TrustingRelay(tmp_path)
    assert '"root_key_here": true' in relay.command("kits", "authority", "--json")
    relay.command("kits", "authority", "--take-root-key", tmp_path / "safe.key")
    assert (tmp_path / "safe.key").stat().st_mode & 0o777 == 0o600
    assert '"root_key_here": false' in relay.command("kits", "authority", "--json")
    relay.install("bedside-01", tmp_path / "kit")
    relay.stop()
