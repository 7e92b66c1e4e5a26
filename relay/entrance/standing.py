"""Who is no longer trusted although the signature is good: revoked kits and certificates, ended sign-ins.

A copy in memory of what the database says, so that a request needs no query. `watch` of relay.identity.service reads it
again within a second of a change, so that what a command revokes ends on every running relay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from relay.auth import Principal, Role

REVOKED = "This kit was revoked. Whoever runs the relay can make it a new claim (homeside claims make)."
ENDED = "This sign-in has ended. Sign in again."


@dataclass(frozen=True, slots=True)
class Ended:
    """What the database says. `since`: for each kit, the time from which its tokens are valid (epoch seconds)."""

    kits: frozenset[str] = frozenset()
    serials: frozenset[str] = frozenset()
    sign_ins: frozenset[str] = frozenset()
    since: Mapping[str, float] = field(default_factory=dict)


class Standing:
    """`refusal` answers from memory; the listeners are called after every change."""

    def __init__(self) -> None:
        self._ended = Ended()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def update(self, ended: Ended) -> None:
        changed = ended != self._ended
        self._ended = ended
        if changed:
            for listener in self._listeners:
                listener()

    def refusal(self, who: Principal) -> str | None:
        """Why the bearer of a correctly signed token is refused, or None."""
        if who.sign_in is not None and who.sign_in in self._ended.sign_ins:
            return ENDED
        if who.role is Role.KIT and not self.trusts_token(who.subject, who.issued_s):
            return REVOKED
        return None

    def trusts_token(self, kit: str, issued_s: float) -> bool:
        return kit not in self._ended.kits and issued_s >= int(self._ended.since.get(kit, 0))

    def trusts_certificate(self, kit: str, serial: str) -> bool:
        return kit not in self._ended.kits and serial not in self._ended.serials

    @property
    def kits(self) -> frozenset[str]:
        """The revoked kits."""
        return self._ended.kits
