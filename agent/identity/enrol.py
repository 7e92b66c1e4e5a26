"""Enrolment and renewal. Each is a request that can be repeated until its answer is on disk. The functions block."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import EnrolRefused
from agent.identity.exchange import Exchange, pinned, trusting
from agent.identity.folder import Held, IdentityFolder
from agent.identity.keys import der_of, pem_of, proof, request
from core.contracts.identity import (
    EnrolRequest,
    Identity,
    RenewRequest,
    Token,
    TokenRequest,
    renewal_statement,
    token_statement,
)


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an operator gives a kit. Without a fingerprint, the relay's certificate must be trusted by the system."""

    kit: str
    relay: str
    claim: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The current identity, and the relay's time when it was issued (0 when nothing had to be asked)."""

    held: Held
    now_s: int


def enrol(folder: IdentityFolder, given: Invitation, *, again: bool = False) -> Enrolled:
    """Exchange the claim for a certificate. A kit already enrolled keeps its identity unless `again`.

    Raises EnrolRefused, RelayNotTrusted or IdentityUnusable; RelayAway when it is worth trying later.
    """
    folder.finish()
    held = folder.held()
    if held is not None and held.kit == given.kit and not again:
        return Enrolled(held, 0)
    exchange = pinned(given.relay, given.fingerprint) if given.fingerprint else Exchange(given.relay, trusting(None))
    key = folder.pending_key()
    asked = EnrolRequest(claim=given.claim, csr=pem_of(request(key, given.kit)))
    made = exchange.post("/enrol", asked, Identity)
    return Enrolled(folder.install(key, made, exchange.relay), made.now)


def renew(folder: IdentityFolder, exchange: Exchange) -> Enrolled:
    """Replace key and certificate, authorised by the old key. Raises the same errors as `enrol`."""
    folder.finish()
    held = folder.held()
    if held is None:
        raise EnrolRefused("this kit is not enrolled")
    key = folder.pending_key()
    csr = request(key, held.kit)
    statement = renewal_statement(held.serial, der_of(csr))
    asked = RenewRequest(serial=held.serial, csr=pem_of(csr), proof=proof(held.key, statement))
    made = exchange.post("/renew", asked, Identity)
    return Enrolled(folder.install(key, made, exchange.relay), made.now)


def token(held: Held, exchange: Exchange) -> Token:
    """A bearer token for the relay's HTTP APIs. Raises EnrolRefused or RelayAway."""
    at = exchange.authority().now
    asked = TokenRequest(serial=held.serial, at=at, proof=proof(held.key, token_statement(held.serial, at)))
    return exchange.post("/token", asked, Token)
