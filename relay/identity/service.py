"""Enrolment, renewal and revocation of kits. Knows nothing of HTTP or SQL.

A claim is used once, in one transaction with the certificate it is used for. A kit that lost the answer asks again with
the same key and gets the same certificate; anybody else who shows that claim is refused, and this is recorded.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.contracts.identity import RenewRequest, TokenRequest, claimable, code_of, renewal_statement, token_statement
from relay.auth import Principal, Role, Tokens
from relay.entrance.standing import Standing
from relay.errors import ClaimRefused, CsrRefused, IdentityRefused, NotFound, RelayError
from relay.identity.authority import PEM, Authority
from relay.identity.rules import CODE_BITS, check_name, digest_of, key_mark, key_of, proof_holds, read_csr, renew_after
from relay.identity.store import Certificate, Claim, Entry, IdentityStore, KitIdentity

CLAIM_TEXT = "This claim is not valid: unknown, expired, withdrawn or spent. Ask whoever runs the relay for a new one."
REFUSED_TEXT = "This kit is not known here, was revoked, or does not hold the key it speaks for. It needs a new claim."
PROOF_WITHIN_S = 300
"""Most seconds between the time in a token request and the relay's time."""
WATCH_EVERY_S = 1.0
MOST_LISTED = 1_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long claims, certificates and tokens are valid."""

    certificate: timedelta = timedelta(days=90)
    claim: timedelta = timedelta(hours=24)
    grace: timedelta = timedelta(days=30)
    """How long after its expiry a certificate can still be renewed, unless it was revoked."""
    token: timedelta = timedelta(hours=24)
    sign_in: timedelta = timedelta(hours=24)
    """Validity of an access token; ended sign-ins are remembered for as long."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate for a kit, and when to renew it."""

    certificate: Certificate
    renew_after: datetime
    now: datetime


class IdentityService:
    def __init__(
        self,
        store: IdentityStore,
        authority: Authority,
        standing: Standing,
        tokens: Tokens,
        terms: Terms,
        now_ms: Callable[[], float],
    ) -> None:
        self.authority = authority
        self._store = store
        self._standing = standing
        self._tokens = tokens
        self._terms = terms
        self._now_ms = now_ms

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)

    # -- for the operator --------------------------------------------------------------------------------------

    async def make_claims(
        self, kits: list[str], by: str, life: timedelta | None = None, address: str | None = None
    ) -> list[tuple[Claim, str]]:
        """Make a claim for each kit. Returns each with its code, which cannot be read again. Raises CsrRefused for a
        name that cannot be a kit's.
        """
        now = self.now()
        made: list[tuple[Claim, str]] = []
        for kit in kits:
            if not claimable(kit):
                raise CsrRefused(
                    f"{kit[:80]!r} cannot be a kit's name: a letter or digit, then letters, digits, '.', '_', '-'."
                )
            claim = Claim(str(uuid.uuid4()), kit, now, by, now + (life or self._terms.claim))
            made.append((claim, code_of(secrets.randbits(CODE_BITS))))
        entries = [Entry(now, "claim_made", claim.kit, by, address, f"claim {claim.id}") for claim, _ in made]
        if made:
            await self._store.add_claims([(claim, digest_of(code)) for claim, code in made], entries)
        return made

    async def claims(self) -> list[Claim]:
        return await self._store.list_claims(MOST_LISTED)

    async def withdraw(self, which: str, by: str, address: str | None = None) -> int:
        """Withdraw open claims, by a claim's id or a kit's name; returns how many. Raises NotFound if none was open."""
        now = self.now()
        count = await self._store.withdraw(which, now, Entry(now, "claim_withdrawn", None, by, address, which[:512]))
        if count == 0:
            raise NotFound(f"No open claim has the id, or is for the kit, {which[:80]!r}.")
        return count

    async def kits(self) -> list[KitIdentity]:
        return await self._store.list_kits()

    async def trusted_kits(self) -> list[str]:
        """Names of kits that are enrolled and not revoked, sorted."""
        return await self._store.trusted_kits()

    async def audit(self, kit: str | None = None, most: int = MOST_LISTED) -> list[Entry]:
        return await self._store.list_audit(kit, min(most, MOST_LISTED))

    async def revoke(self, kit: str, why: str, by: str, address: str | None = None) -> bool:
        """Revoke a kit from now on and disconnect it. A kit without a certificate loses its tokens.

        False if no kit of that name was ever enrolled: it may be misspelt.
        """
        if not claimable(kit):
            raise NotFound(f"{kit[:80]!r} is no kit's name.")
        now = self.now()
        known = await self._store.revoke(kit, now, why[:256], Entry(now, "kit_revoked", kit, by, address, why[:512]))
        log.warning("kit_revoked", kit=kit)
        await self.look()
        return known

    # -- for kits ----------------------------------------------------------------------------------------------

    async def enrol(self, code: str, csr_pem: str, address: str) -> Issued:
        """Use a claim and issue its certificate. Otherwise ClaimRefused or CsrRefused, recorded in the audit trail
        unless the request cannot be read at all.
        """
        now, csr = self.now(), read_csr(csr_pem)
        claim = await self._store.claim(digest_of(code))
        try:
            return self._issued(await self._spend(claim, csr, now, address), now)
        except (ClaimRefused, CsrRefused) as refused:
            kit = claim.kit if claim else None
            detail = f"{refused.code}: {_state(claim, now)}"
            await self._store.record(Entry(now, "enrol_refused", kit, "kit", address, detail))
            log.warning("enrol_refused", kit=kit, reason=detail)
            raise

    async def _spend(
        self, claim: Claim | None, csr: x509.CertificateSigningRequest, now: datetime, address: str
    ) -> Certificate:
        if claim is None or (claim.spent_at is None and (claim.withdrawn_at or claim.expires_at <= now)):
            raise ClaimRefused(CLAIM_TEXT)
        check_name(csr, claim.kit)
        if claim.spent_at is None:
            made = self._sign(csr, claim.kit, now)
            entry = Entry(now, "enrolled", claim.kit, "kit", address, f"claim {claim.id}, serial {made.serial}")
            if await self._store.spend(claim, made, now, entry):
                log.info("kit_enrolled", kit=claim.kit, serial=made.serial)
                if claim.kit in self._standing.kits:
                    await self.look()
                return made
        return await self._again(claim, csr)

    async def _again(self, claim: Claim, csr: x509.CertificateSigningRequest) -> Certificate:
        """The certificate of a claim used before, for the holder of the same key, whose first answer was lost."""
        known = await self._store.by_key(claim.kit, key_mark(key_of(csr)))
        if known is None or known.revoked_at is not None:
            raise ClaimRefused(CLAIM_TEXT)
        return known

    async def renew(self, asked: RenewRequest, address: str) -> Issued:
        """A new certificate for the holder of an old one. Raises IdentityRefused or CsrRefused."""
        now, csr = self.now(), read_csr(asked.csr)
        statement = renewal_statement(asked.serial, csr.public_bytes(Encoding.DER))
        old = await self._holder(asked.serial, statement, asked.proof, address)
        check_name(csr, old.kit)
        known = await self._store.by_key(old.kit, key_mark(key_of(csr)))
        if known is not None:
            if known.revoked_at is not None:
                raise IdentityRefused(REFUSED_TEXT)
            return self._issued(known, now)
        made = self._sign(csr, old.kit, now)
        entry = Entry(now, "renewed", old.kit, "kit", address, f"serial {made.serial} after {old.serial}")
        await self._store.add_certificate(made, entry)
        log.info("kit_renewed", kit=old.kit, serial=made.serial)
        return self._issued(made, now)

    async def token(self, asked: TokenRequest, address: str) -> tuple[str, datetime]:
        """A bearer token for the HTTP APIs, for the holder of a certificate, and when it expires. Raises
        IdentityRefused.
        """
        now = self.now()
        if abs(asked.at - now.timestamp()) > PROOF_WITHIN_S:
            raise IdentityRefused("The time this was asked at is not the relay's. Ask for its time first.")
        holder = await self._holder(asked.serial, token_statement(asked.serial, asked.at), asked.proof, address)
        who, life = Principal(holder.kit, Role.KIT), self._terms.token
        return self._tokens.issue(who, now_s=now.timestamp(), lifetime_s=life.total_seconds()), now + life

    async def _holder(self, serial: str, statement: bytes, proof: str, address: str) -> Certificate:
        now = self.now()
        found = await self._store.certificate(serial)
        if found is not None:
            certificate, kit_revoked = found
            parsed = x509.load_pem_x509_certificate(certificate.pem.encode())
            trusted = certificate.revoked_at is None and not kit_revoked
            if trusted and certificate.not_after + self._terms.grace > now and proof_holds(parsed, statement, proof):
                return certificate
        kit = found[0].kit if found else None
        await self._store.record(Entry(now, "proof_refused", kit, "kit", address, f"serial {serial}"))
        log.warning("proof_refused", kit=kit, serial=serial)
        raise IdentityRefused(REFUSED_TEXT)

    def _sign(self, csr: x509.CertificateSigningRequest, kit: str, now: datetime) -> Certificate:
        key = key_of(csr)
        made = self.authority.issue_kit(key, kit, now, self._terms.certificate)
        return Certificate(
            serial=f"{made.serial_number:x}",
            kit=kit,
            key=key_mark(key),
            not_before=made.not_valid_before_utc,
            not_after=made.not_valid_after_utc,
            pem=made.public_bytes(PEM).decode(),
        )

    def _issued(self, made: Certificate, now: datetime) -> Issued:
        return Issued(made, renew_after(made.not_before, made.not_after), now)

    # -- who is no longer trusted ------------------------------------------------------------------------------

    async def revocations(self) -> bytes:
        """The certificate revocation list (PEM), for brokers and anybody who asks."""
        now = self.now()
        return self.authority.crl(await self._store.revoked_certificates(now), now)

    async def look(self) -> None:
        """Bring `standing` up to date with the database."""
        now = self.now()
        self._standing.update(await self._store.ended(now, now - self._terms.sign_in))

    async def watch(self) -> None:
        """Poll the database, never returning: what a command or another relay has revoked is known here within
        WATCH_EVERY_S.
        """
        while True:
            try:
                await self.look()
            except RelayError as error:
                log.warning("standing_not_read", code=error.code)
            await asyncio.sleep(WATCH_EVERY_S)


def _state(claim: Claim | None, now: datetime) -> str:
    """The state of a refused claim, for the audit trail."""
    if claim is None:
        return "unknown"
    if claim.spent_at is not None:
        return f"spent, claim {claim.id}"
    if claim.withdrawn_at is not None:
        return f"withdrawn, claim {claim.id}"
    return f"expired, claim {claim.id}" if claim.expires_at <= now else f"claim {claim.id}"
