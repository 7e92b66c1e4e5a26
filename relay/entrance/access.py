"""Who may do what, for the APIs whose documents ask for no credentials.

On loopback they are open, exactly as documented. On other listeners they ask for a bearer token (a user's, a kit's or a
signed link's), in the Authorization header or, for sockets and links, as `?token=`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from starlette.requests import HTTPConnection

from relay.auth import Principal, Role, Tokens
from relay.entrance.standing import Standing
from relay.errors import Forbidden, Unauthorized

GUARDED = "homeside.guarded"
"""Key of an ASGI scope that is set when the request came by a listener that asks for tokens (relay.entrance.ports)."""

STAFF = frozenset({Role.ADMIN, Role.PHYSIOTHERAPIST})
ANYBODY = Principal(subject="loopback", role=Role.ADMIN)


CLOSE_ENDED = 4401
EXPIRED = "This link has expired. Ask for a new one."
LOOK_AGAIN_S = 60.0


class Open(Protocol):
    """Something that lives on after the request that opened it, such as a socket or a viewer's video."""

    def end(self, code: int, reason: str = "") -> None: ...


class Access:
    """Finds the principal of a request, and decides whether it may view a session or measure in it."""

    def __init__(
        self, tokens: Tokens, now_ms: Callable[[], float], link_hours: float, standing: Standing | None = None
    ) -> None:
        self._tokens = tokens
        self._standing = standing or Standing()
        self._now_ms = now_ms
        self._link_s = link_hours * 3600
        self._held: WeakKeyDictionary[Open, Principal] = WeakKeyDictionary()
        self._waking: asyncio.TimerHandle | None = None
        self._wakes_s = 0.0
        self._standing.listen(self._end_refused)

    def principal(self, connection: HTTPConnection) -> Principal:
        """The caller; on an open listener everybody is trusted. Raises Unauthorized without a valid token."""
        if not connection.scope.get(GUARDED, False):
            return ANYBODY
        return self.bearer(connection)

    def bearer(self, connection: HTTPConnection) -> Principal:
        """The caller, for APIs that need a token on every listener. Raises Unauthorized without a valid token.

        A correctly signed token is refused too when its kit was revoked or its sign-in has ended.
        """
        who = self._tokens.read(self.token(connection), now_s=self._now_ms() / 1000)
        if refusal := self._standing.refusal(who):
            raise Unauthorized(refusal)
        return who

    def hold(self, opened: Open, who: Principal, *, measures: bool = False) -> None:
        """End `opened` when its sign-in ends, its kit is revoked or, if a link opened it, the link expires.

        A link's expiry does not interrupt a patient who measures. A kit's own expiry does not count, for it renews
        itself.
        """
        if not _by_link(who):
            self._held[opened] = who
        elif who.ends_s is not None and not measures:
            self._held[opened] = who
            if self._waking is None or who.ends_s < self._wakes_s:
                self._wake_at(who.ends_s)

    def _wake_at(self, ends_s: float) -> None:
        """Schedule the next check. The wall clock may step, so check at least once a minute."""
        if self._waking is not None:
            self._waking.cancel()
        wait_s = min(max(0.0, ends_s - self._now_ms() / 1000), LOOK_AGAIN_S)
        self._wakes_s, self._waking = ends_s, asyncio.get_running_loop().call_later(wait_s, self._end_expired)

    def _end_expired(self) -> None:
        self._waking = None
        now_s = self._now_ms() / 1000
        links = [(opened, who.ends_s) for opened, who in list(self._held.items()) if _by_link(who)]
        for opened, ends_s in links:
            if ends_s is not None and ends_s <= now_s:
                del self._held[opened]
                opened.end(CLOSE_ENDED, EXPIRED)
        if left := [ends_s for _, ends_s in links if ends_s is not None and ends_s > now_s]:
            self._wake_at(min(left))

    def _end_refused(self) -> None:
        for opened, who in list(self._held.items()):
            if refusal := self._standing.refusal(who):
                del self._held[opened]
                opened.end(CLOSE_ENDED, refusal)

    def may_view(self, who: Principal, session: str) -> None:
        if who.role in STAFF or who.session == session:
            return
        raise Forbidden("This link is for another session. Ask the patient or the kit's owner for one to this session.")

    def feeds(self, who: Principal, session: str, kit: str | None) -> bool:
        """Whether `who` measures in, and may end, an existing session: staff, its kit, a patient by its link."""
        if who.role is Role.KIT:
            return who.subject == kit
        return who.role in STAFF or (who.role is Role.PATIENT and who.session == session)

    def may_feed(self, who: Principal, session: str, kit: str | None) -> None:
        if not self.feeds(who, session, kit):
            raise Forbidden("This token does not measure in this session. Use the link that came with the session.")

    def may_measure(self, who: Principal, session: str | None) -> None:
        """Raise Forbidden unless `who` may begin something (`session` None) or add to it.

        Staff and kits may; a patient by a token of their own, or by the session's link.
        """
        if who.role in STAFF | {Role.KIT}:
            return
        if who.role is Role.PATIENT and who.session in (None, session):
            return
        raise Forbidden(
            "This link lets you look, not measure. Ask for a measuring link (homeside token --role patient)."
        )

    def may_list(self, who: Principal) -> None:
        if who.role not in STAFF:
            raise Forbidden("Only staff see the list of sessions. Open the link you were given instead.")

    def reach(self, who: Principal) -> str | None:
        """Whose data `who` may reach: their own, by name; None for staff, who reach everybody's."""
        return None if who.role in STAFF else who.subject

    def link(self, session: str, role: Role) -> str:
        """A short-lived token for one session, to be put into a link."""
        bearer = Principal(subject=f"link:{session}", role=role, session=session)
        return self._tokens.issue(bearer, now_s=self._now_ms() / 1000, lifetime_s=self._link_s)

    @staticmethod
    def token(connection: HTTPConnection) -> str:
        """The bearer token of a request. Raises Unauthorized when there is none."""
        scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and credentials:
            return credentials
        found: Any = connection.query_params.get("token")
        if not found:
            raise Unauthorized("This relay asks for a token. Open the full link you were given, or sign in.")
        return str(found)


def _by_link(who: Principal) -> bool:
    return who.sign_in is None and who.role is not Role.KIT
