"""Identities over HTTP: what kits may ask for without a token, and what needs an admin's. Knows nothing of SQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse, Response

from core.contracts import identity
from core.contracts.errors import ContractError
from core.contracts.identity import EnrolRequest, RenewRequest, TokenRequest, decode
from relay.auth import Principal, Role
from relay.bodies import whole_body
from relay.entrance.access import Access
from relay.envelopes import Limiter
from relay.errors import ClaimRefused, CsrRefused, Forbidden, IdentityRefused, RelayError, TooLarge, TooMany
from relay.identity.service import IdentityService, Issued

BrokerUrl = Callable[[Request], str]
"""Gives the broker's address for the requesting kit."""
NOT_KEPT = {"Cache-Control": "no-store"}


class WantedClaims(BaseModel):
    """Kits to make claims for, and how long these are valid."""

    model_config = ConfigDict(extra="forbid")

    kits: list[str] = Field(min_length=1, max_length=1_000)
    hours: float | None = Field(None, gt=0, le=24 * 90)


class Revocation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: str = Field("", max_length=256)


def application(
    service: IdentityService, access: Access, broker_url: BrokerUrl, trusted: bytes, failures: Limiter
) -> FastAPI:
    """The identities' routes. `trusted` is what kits may trust (PEM); `failures` limits refused claims and proofs per
    address.
    """
    app = FastAPI(title="Homeside identities", version="1", docs_url=None, redoc_url=None)
    app.include_router(_kits(service, broker_url, trusted, failures))
    app.include_router(_operators(service, access))
    app.add_exception_handler(RelayError, _on_relay_error)
    app.add_exception_handler(ContractError, _on_contract_error)
    app.add_exception_handler(StarletteHTTPException, _on_http)
    return app


def _kits(service: IdentityService, broker_url: BrokerUrl, trusted: bytes, failures: Limiter) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["kits"])
    guarded = partial(_guarded, failures)

    def answer(request: Request, issued: Issued) -> Response:
        body = _issued(issued, service.authority.issuer_pem, trusted)
        return JSONResponse({**body, "broker": broker_url(request)}, headers=NOT_KEPT)

    @router.get("/authority", summary="Whom to trust, and what time it is")
    async def authority() -> Response:
        """The authority's certificates. A kit checks one of them against the fingerprint in its invitation before it
        trusts any.
        """
        body = {
            "certificates": trusted.decode(),
            "fingerprint": service.authority.fingerprint,
            "now": int(service.now().timestamp()),
        }
        return JSONResponse(body, headers=NOT_KEPT)

    @router.post("/enrol", summary="Spend a claim for a certificate")
    async def enrol(request: Request) -> Response:
        asked = decode(await _body(request), EnrolRequest)
        issued = await guarded(request, lambda address: service.enrol(asked.claim, asked.csr, address))
        return answer(request, issued)

    @router.post("/renew", summary="A new certificate for the holder of one")
    async def renew(request: Request) -> Response:
        asked = decode(await _body(request), RenewRequest)
        return answer(request, await guarded(request, lambda address: service.renew(asked, address)))

    @router.post("/token", summary="A bearer token for the holder of a certificate")
    async def token(request: Request) -> Response:
        asked = decode(await _body(request), TokenRequest)
        signed, until = await guarded(request, lambda address: service.token(asked, address))
        body = {"token": signed, "expiresAt": int(until.timestamp())}
        return JSONResponse(body, headers=NOT_KEPT)

    @router.get("/revoked.pem", summary="Certificates that are revoked (CRL)")
    async def revoked() -> Response:
        return Response(await service.revocations(), media_type="application/x-pem-file")

    return router


async def _guarded(failures: Limiter, request: Request, ask: Callable[[str], Awaitable[Any]]) -> Any:
    """Run `ask`, counting refusals per address; beyond the limit, requests are refused without being examined."""
    address = address_of(request)
    failures.check(address)
    try:
        return await ask(address)
    except (ClaimRefused, CsrRefused, IdentityRefused):
        failures.take(address)
        raise


def _issued(issued: Issued, issuer_pem: bytes, trusted: bytes) -> dict[str, Any]:
    """The response to a kit: its certificate with chain, the certificates it is to trust, and times in epoch
    seconds.
    """
    made = issued.certificate
    return {
        "kit": made.kit,
        "serial": made.serial,
        "certificate": made.pem + issuer_pem.decode(),
        "authority": trusted.decode(),
        "notBefore": int(made.not_before.timestamp()),
        "notAfter": int(made.not_after.timestamp()),
        "renewAfter": int(issued.renew_after.timestamp()),
        "now": int(issued.now.timestamp()),
    }


def _operators(service: IdentityService, access: Access) -> APIRouter:
    async def admin(request: Request) -> Principal:
        who = access.bearer(request)
        if who.role is not Role.ADMIN:
            raise Forbidden("Identities of kits are an admin's.")
        return who

    router = APIRouter(prefix="/v1", tags=["operators"])
    only = Depends(admin)

    @router.post("/claims", status_code=201, summary="Make claims; their codes are told this once")
    async def make(request: Request, wanted: WantedClaims, who: Principal = only) -> dict[str, Any]:
        life = timedelta(hours=wanted.hours) if wanted.hours else None
        made = await service.make_claims(wanted.kits, _name(who), life, address_of(request))
        return {"claims": [{**asdict(claim), "code": code} for claim, code in made]}

    @router.get("/claims", summary="Claims, newest first, without their codes")
    async def claims(_: Principal = only) -> dict[str, Any]:
        return {"claims": [asdict(claim) for claim in await service.claims()]}

    @router.delete("/claims/{which}", summary="Withdraw open claims, by id or by kit")
    async def withdraw(request: Request, which: str, who: Principal = only) -> dict[str, Any]:
        return {"withdrawn": await service.withdraw(which, _name(who), address_of(request))}

    @router.get("/kits", summary="Enrolled kits, and those revoked")
    async def kits(_: Principal = only) -> dict[str, Any]:
        return {"kits": [asdict(kit) for kit in await service.kits()]}

    @router.post("/kits/{kit}/revoke", summary="End a kit's certificates, tokens, claims and connections")
    async def revoke(
        request: Request, kit: str, said: Revocation | None = None, who: Principal = only
    ) -> dict[str, Any]:
        await service.revoke(kit, said.why if said else "", _name(who), address_of(request))
        return {"kit": kit, "revoked": True}

    @router.get("/audit", summary="What happened to identities, newest first")
    async def audit(
        kit: str | None = None, most: Annotated[int, Query(ge=1, le=1_000)] = 100, _: Principal = only
    ) -> dict[str, Any]:
        return {"audit": [asdict(entry) for entry in await service.audit(kit, most)]}

    return router


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def _name(who: Principal) -> str:
    return f"{who.role.value} {who.subject}"[:256]


async def _body(request: Request) -> bytes:
    return await whole_body(
        request, identity.MAX_BODY_BYTES, TooLarge(f"A kit's request has at most {identity.MAX_BODY_BYTES} bytes.")
    )


async def _on_relay_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RelayError)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(error.retry_after_s)
    elif error.retryable:
        headers["Retry-After"] = "2"
    return _refusal(error.status, error.code, str(error), headers)


async def _on_contract_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ContractError)
    return _refusal(400, error.code, str(error))


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "ERROR")
    return _refusal(error.status_code, code, str(error.detail), dict(error.headers or {}))


def _refusal(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"code": code, "detail": text}, status, headers)
