"""TLS client certificates: what the relay's broker asks of kits, and what a connection has shown."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from relay.entrance.tls import server_context
from relay.identity.authority import Authority


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate verified by TLS: the kit it names, and its serial number (hexadecimal)."""

    kit: str
    serial: str


def kits_context(certificate: Path, key: Path, authority: Authority) -> ssl.SSLContext:
    """TLS for kits: a client certificate is optional, but one that is shown must be signed by this relay's issuer."""
    context = server_context(certificate, key)
    context.load_verify_locations(cadata=authority.issuer_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def shown_by(connection: ssl.SSLObject | None) -> Shown | None:
    """The client's certificate, or None without TLS or without a certificate."""
    der = connection.getpeercert(binary_form=True) if connection is not None else None
    if not der:
        return None
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        return None
    return Shown(str(names[0].value), f"{certificate.serial_number:x}")
