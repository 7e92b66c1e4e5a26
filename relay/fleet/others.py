"""What a relay tells the other relays about the fleet, as the service sees it; and the version for a single relay.

A kit may connect to another relay at any time. Every relay knows the same about every kit, at most seconds late.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from relay.fleet.rules import Told


class Rows(StrEnum):
    """The kind of database rows that somebody changed and that the other relays must read again."""

    KIT = "kit"
    PACKAGES = "packages"
    ROLLOUTS = "rollouts"


class Others(Protocol):
    """The other relays. What they are told is already committed. `tell` and `changed` return at once."""

    alone: bool

    def tell(self, told: Sequence[Told]) -> None:
        """Pass on what was reported by kits connected to this relay."""
        ...

    def changed(self, rows: Rows, key: str = "") -> None: ...

    async def share(self, bundle: Path) -> None:
        """Give the others a bundle that was uploaded here. Raises StoreUnavailable if it could not be passed on."""
        ...

    async def bring(self, bundle: str, into: Path) -> bool:
        """Fetch a bundle that was uploaded elsewhere; False if no relay has it."""
        ...


class Alone:
    """A single relay: there are no others."""

    alone = True

    def tell(self, told: Sequence[Told]) -> None:
        return

    def changed(self, rows: Rows, key: str = "") -> None:
        return

    async def share(self, bundle: Path) -> None:
        return

    async def bring(self, bundle: str, into: Path) -> bool:
        return False
