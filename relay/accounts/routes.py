"""Sign-in over HTTP, and the dependency that tells every other route who asks and from where."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from starlette.requests import HTTPConnection
from starlette.responses import Response

from core.contracts.physio import Login
from relay.accounts.service import Accounts, SignedIn, Visit, user_body
from relay.auth import Role
from relay.envelopes import Limiter, answer
from relay.errors import Forbidden, Unauthorized

COOKIE = "homeside_refresh"


class Guards:
    """Dependencies of routes: the caller must be signed in and, if roles are given, have one of them."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def visit(self, request: Request) -> Visit:
        account, sign_in = await self._accounts.who(bearer(request))
        address = request.client.host if request.client else None
        return Visit(account, sign_in, address, request.headers.get("user-agent", "")[:500])

    def only(self, *roles: Role) -> Any:
        """A dependency for these roles, or for any role if none is given. Raises Forbidden (403) for another role."""

        async def guard(request: Request) -> Visit:
            visit = await self.visit(request)
            if roles and visit.account.role not in roles:
                wanted = " or ".join(map(_a, roles))
                raise Forbidden(f"This is for {wanted}; you are signed in as {_a(visit.account.role)}.")
            return visit

        return Depends(guard)


def _a(role: Role) -> str:
    return f"an {role.value}" if role.value[0] in "aeiou" else f"a {role.value}"


def bearer(connection: HTTPConnection) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Sign in first: POST /api/auth/login gives the token this needs.")
    return token.strip()


def routes(accounts: Accounts, guards: Guards, attempts: Limiter) -> APIRouter:
    """The sign-in routes. `attempts` limits failed sign-ins per account and address, to slow down guessing."""
    router = APIRouter(prefix="/api/auth", tags=["auth"])
    everybody = guards.only()

    @router.post("/login", summary="Sign in")
    async def login(request: Request, body: Annotated[Login, Body()]) -> Response:
        host = request.client.host if request.client else ""
        key = f"{host} {body.email.lower()}"
        attempts.check(key)
        try:
            signed = await accounts.login(body.email, body.password)
        except Unauthorized:
            attempts.take(key)
            raise
        return _welcome(request, signed)

    @router.get("/refresh", summary="A new access token for a refresh token")
    async def refresh(request: Request) -> Response:
        """Exchange a refresh token, given as bearer, in `X-Refresh-Token`, or in the sign-in's cookie. It can be used
        once.
        """
        token = request.headers.get("x-refresh-token")
        if not token and "authorization" not in request.headers:
            token = request.cookies.get(_cookie(request))
        return _welcome(request, await accounts.refresh(token or bearer(request)))

    @router.post("/logout", summary="Sign out")
    async def logout(request: Request, visit: Visit = everybody) -> Response:
        """End this sign-in: its access and refresh tokens are refused from now on."""
        await accounts.logout(visit.sign_in)
        response = answer(request, {"message": "Signed out."})
        response.delete_cookie(_cookie(request), path=_cookie_path(request), secure=_is_secure(request))
        return response

    return router


def _welcome(request: Request, signed: SignedIn) -> Response:
    data = {
        "access_token": signed.access_token,
        "refresh_token": signed.refresh_token,
        "token_type": "Bearer",
        "expires_in": signed.expires_in,
        "user": user_body(signed.account),
    }
    response = answer(request, data)
    response.headers["Cache-Control"] = "no-store"
    response.set_cookie(
        _cookie(request),
        signed.refresh_token,
        path=_cookie_path(request),
        httponly=True,
        samesite="strict",
        secure=_is_secure(request),
    )
    return response


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _cookie(request: Request) -> str:
    """The cookie's name; over TLS with the prefix that browsers accept from secure origins only (RFC 6265bis, cookie
    name prefixes).
    """
    return f"__Secure-{COOKIE}" if _is_secure(request) else COOKIE


def _cookie_path(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/api/auth"
