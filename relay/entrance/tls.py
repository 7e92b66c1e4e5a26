"""The relay's server certificate, signed by its own authority: enough for kits, and for phones that accept it once.

It contains every address of this machine and the names from the settings. It is replaced when one of them is missing or
it is about to expire; clients that trust the root accept the new one too.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from relay.errors import SettingsError
from relay.files import write_whole
from relay.identity.authority import PEM, Authority, general_name, private_pem

LIFETIME = timedelta(days=397)
"""Browsers refuse server certificates valid for more than 398 days."""
RENEW_BEFORE = timedelta(days=30)
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: only suites with forward secrecy and authenticated encryption. TLS 1.3 has no others."""
_serving: WeakKeyDictionary[ssl.SSLContext, tuple[Path, Path]] = WeakKeyDictionary()


def own_certificate(folder: Path, authority: Authority, names: Sequence[str], now: datetime) -> tuple[Path, Path]:
    """Paths of the certificate with its chain up to the root, and of its key (P-256, readable by its owner alone)."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    wanted = own_names(names)
    if not _still_good(certificate, key, authority, wanted, now + RENEW_BEFORE):
        folder.mkdir(parents=True, exist_ok=True)
        private = ec.generate_private_key(ec.SECP256R1())
        leaf = authority.issue_server(private.public_key(), wanted, now, LIFETIME)
        write_whole(key, private_pem(private), 0o600)
        write_whole(certificate, leaf.public_bytes(PEM) + authority.issuer_pem + authority.root_pem, 0o644)
    return certificate, key


def own_names(more: Sequence[str] = ()) -> list[str]:
    """The names and addresses by which this machine is reached."""
    return list(dict.fromkeys(["localhost", socket.gethostname(), *lan_addresses(), "127.0.0.1", *more]))


def lan_addresses() -> list[str]:
    """This machine's addresses on its networks, the most likely reachable first. Sends nothing."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found.append(str(probe.getsockname()[0]))
        except OSError:
            found.append("127.0.0.1")
    for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM):
        if entry[4][0] not in found:
            found.append(str(entry[4][0]))
    return found


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with forward secrecy; no renegotiation, no compression, the server's order of ciphers.

    Raises SettingsError when the two files cannot be used, as with an encrypted key: no password is ever asked for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _load(context, certificate, key)
    _serving[context] = certificate, key
    return context


def serve_anew(certificate: Path, key: Path) -> None:
    """From the next handshake on, all listeners that use these two files present their new content.

    Raises SettingsError when that cannot be used; the previous certificate stays in use.
    """
    server_context(certificate, key)
    for context, files in list(_serving.items()):
        if files == (certificate, key):
            _load(context, certificate, key)


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise SettingsError(f"tls.certificate and tls.key: {certificate} and {key} do not serve: {error}") from None


def _still_good(path: Path, key: Path, authority: Authority, names: Sequence[str], moment: datetime) -> bool:
    """Whether it is for this key, from the current issuer, valid beyond `moment`, and contains all the names."""
    try:
        leaf, issuer = x509.load_pem_x509_certificates(path.read_bytes())[:2]
        known = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    covered = {general_name(name) for name in names} <= set(known)
    ours = issuer == authority.issuer and private.public_key() == leaf.public_key()
    return ours and leaf.not_valid_after_utc > moment and covered
