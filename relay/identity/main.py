"""The identities' part of the relay put together, for relay.main and for the commands."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.auth import Tokens
from relay.bus.mqtt import Address
from relay.entrance.certificates import kits_context
from relay.entrance.standing import Standing
from relay.entrance.tls import own_certificate, server_context
from relay.envelopes import Limiter
from relay.errors import SettingsError
from relay.ground import Duty, Ground, Part
from relay.identity.authority import PEM, Authority, AuthorityFiles, open_authority, own_authority
from relay.identity.gateway import BrokerFiles
from relay.identity.routes import application
from relay.identity.service import IdentityService, Terms
from relay.identity.store import IdentityStore
from relay.settings import RelaySettings

FAILURES, FAILURES_WINDOW_S = 10, 600
"""Refused claims and proofs an address may have in ten minutes."""


@dataclass(frozen=True, slots=True)
class Identities:
    """The authority, who is no longer trusted, and the service over both."""

    authority: Authority
    standing: Standing
    service: IdentityService


def authority_of(settings: RelaySettings, now: datetime) -> Authority:
    """The relay's own, or an outside one's issuer where the settings name it."""
    outside = settings.identity
    if outside.issuer is None or outside.issuer_key is None or outside.root is None:
        return own_authority(settings.data / "authority", now)
    return open_authority(AuthorityFiles(outside.root, Path(), outside.issuer, outside.issuer_key), now)


async def identities(
    settings: RelaySettings, engine: AsyncEngine, tokens: Tokens, now_ms: Callable[[], float]
) -> Identities:
    """Made, and knowing who is trusted. The database is there."""
    chosen = settings.identity
    terms = Terms(
        certificate=timedelta(days=chosen.certificate_days),
        claim=timedelta(hours=chosen.claim_hours),
        grace=timedelta(days=chosen.grace_days),
        sign_in=timedelta(hours=settings.physio.access_hours),
    )
    authority = authority_of(settings, datetime.fromtimestamp(now_ms() / 1000, UTC))
    standing = Standing()
    service = IdentityService(IdentityStore(engine), authority, standing, tokens, terms, now_ms)
    await service.look()
    return Identities(authority, standing, service)


def open_identity(ground: Ground, made: Identities, address: Address) -> Part:
    """`address` is the broker's, as the relay reaches it."""
    settings = ground.settings
    trusted = made.authority.root_pem + _above(settings.tls.certificate)
    failures = Limiter(FAILURES, FAILURES_WINDOW_S)
    app = application(made.service, ground.access, _broker_url(settings, address), trusted, failures)
    duties: dict[str, Duty] = {"identity": made.service.watch}
    if settings.identity.broker_files is not None:
        chosen, service = settings.identity, made.service
        files = BrokerFiles(
            settings.identity.broker_files,
            chosen.broker_pid,
            made.standing,
            address,
            service.revocations,
            service.trusted_kits,
        )
        duties["broker_files"] = files.run
    return Part("identity", app, duties=duties)


def broker_tls(settings: RelaySettings, made: Identities) -> tuple[ssl.SSLContext, Path] | None:
    """How the broker inside speaks TLS, and the certificate by which the relay knows it; None without."""
    if not settings.mqtt.tls:
        return None
    certificate, key = server_certificate(settings, made.authority)
    return kits_context(certificate, key, made.authority), certificate


def server_certificate(settings: RelaySettings, authority: Authority) -> tuple[Path, Path]:
    """Of the public port and of the broker inside: the settings' files, else an own one. Raises SettingsError."""
    tls = settings.tls
    if tls.certificate is not None and tls.key is not None:
        server_context(tls.certificate, tls.key)
        return tls.certificate, tls.key
    names = list(tls.names)
    if host := urlsplit(settings.public_url).hostname:
        names.append(host)
    return own_certificate(settings.data / "tls", authority, names, datetime.now(UTC))


def _broker_url(settings: RelaySettings, address: Address) -> Callable[[Request], str]:
    """What a kit is told: the settings' broker, else the one inside, under the name the kit asked by."""

    def url(request: Request) -> str:
        if settings.identity.broker_url:
            return settings.identity.broker_url
        scheme = "mqtts" if address.tls else "mqtt"
        host = request.url.hostname or "localhost"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{address.port}"

    return url


def _above(certificate: Path | None) -> bytes:
    """What stands above a server certificate of the operator's own, or that one itself when it stands alone."""
    if certificate is None:
        return b""
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"tls.certificate: {certificate} cannot be read: {error}") from None
    return b"".join(one.public_bytes(PEM) for one in chain[1:] or chain)
