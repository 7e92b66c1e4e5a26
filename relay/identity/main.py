"""Construction of the relay's identities, for relay.main and for the commands."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.auth import Tokens
from relay.bus.mqtt import Address
from relay.entrance.certificates import kits_context
from relay.entrance.standing import Standing
from relay.entrance.tls import own_certificate, serve_anew, server_context
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
"""Refused claims and proofs that one address may have, and in how many seconds."""
CERTIFICATE_EVERY_S = 3600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identities:
    """The authority, the list of those no longer trusted, and the service that uses both."""

    authority: Authority
    standing: Standing
    service: IdentityService


def authority_of(settings: RelaySettings, now: datetime) -> Authority:
    """The relay's own authority, or the external issuer named in the settings."""
    outside = settings.identity
    if outside.issuer is None or outside.issuer_key is None or outside.root is None:
        return own_authority(settings.data / "authority", now)
    return open_authority(AuthorityFiles(outside.root, Path(), outside.issuer, outside.issuer_key), now)


async def identities(
    settings: RelaySettings, engine: AsyncEngine, tokens: Tokens, now_ms: Callable[[], float]
) -> Identities:
    """Construct the identities and load who is no longer trusted. The database must exist."""
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
    """The identities' API. `address` is the broker's, as the relay reaches it."""
    settings = ground.settings
    trusted = made.authority.root_pem + _above(settings.tls.certificate)
    failures = Limiter(FAILURES, FAILURES_WINDOW_S)
    app = application(made.service, ground.access, _broker_url(settings, address), trusted, failures)
    duties: dict[str, Duty] = {"identity": made.service.watch}
    if settings.tls.enabled or settings.mqtt.tls:
        duties["certificate"] = lambda: keep_certificate(settings, made.authority)
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
    """TLS settings of the built-in broker, and the certificate by which the relay trusts it; None without TLS."""
    if not settings.mqtt.tls:
        return None
    certificate, key = server_certificate(settings, made.authority)
    return kits_context(certificate, key, made.authority), certificate


def server_certificate(settings: RelaySettings, authority: Authority) -> tuple[Path, Path]:
    """Certificate and key of the public port and the built-in broker: the settings' files, else ones made here. Raises
    SettingsError.
    """
    tls = settings.tls
    if tls.certificate is not None and tls.key is not None:
        server_context(tls.certificate, tls.key)
        return tls.certificate, tls.key
    names = list(tls.names)
    if host := urlsplit(settings.public_url).hostname:
        names.append(host)
    return own_certificate(settings.data / "tls", authority, names, datetime.now(UTC))


async def keep_certificate(settings: RelaySettings, authority: Authority, every_s: float = CERTIFICATE_EVERY_S) -> None:
    """Every `every_s` seconds: renew the relay's own certificate if it is due, and serve files that the operator
    replaced. Never returns.
    """
    shown = _newest(await asyncio.to_thread(server_certificate, settings, authority))
    while True:
        await asyncio.sleep(every_s)
        try:
            files = await asyncio.to_thread(server_certificate, settings, authority)
            if (found := _newest(files)) != shown:
                serve_anew(*files)
                shown = found
                log.info("certificate_served_anew", file=str(files[0]))
        except (SettingsError, OSError) as error:
            log.error("certificate_not_served", reason=str(error), remedy="put both files in their place again")


def _newest(files: tuple[Path, Path]) -> tuple[int, ...]:
    return tuple(file.stat().st_mtime_ns for file in files)


def _broker_url(settings: RelaySettings, address: Address) -> Callable[[Request], str]:
    """The broker address given to kits: from the settings, else the built-in broker under the host name the kit
    used.
    """

    def url(request: Request) -> str:
        if settings.identity.broker_url:
            return settings.identity.broker_url
        scheme = "mqtts" if address.tls else "mqtt"
        host = request.url.hostname or "localhost"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{address.port}"

    return url


def _above(certificate: Path | None) -> bytes:
    """The chain above an operator's server certificate, or the certificate itself if it stands alone; PEM."""
    if certificate is None:
        return b""
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"tls.certificate: {certificate} cannot be read: {error}") from None
    return b"".join(one.public_bytes(PEM) for one in chain[1:] or chain)
