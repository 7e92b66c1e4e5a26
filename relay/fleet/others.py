"""What a relay tells the other relays of the fleet, as the service sees it; and the one of a relay that is alone.

Which relay takes a kit's status may change at any time. All of them know the same of every kit, seconds late at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from relay.fleet.rules import Told


class Rows(StrEnum):
    """What was changed in the database by somebody's wish, and is to be read anew."""

    KIT = "kit"
    PACKAGES = "packages"
    ROLLOUTS = "rollouts"


class Others(Protocol):
    """What is told is committed. `tell` and `changed` return at once."""

    alone: bool

    def tell(self, told: Sequence[Told]) -> None:
        """What kits said, whose messages this relay takes."""
        ...

    def changed(self, rows: Rows, key: str = "") -> None: ...

    async def share(self, bundle: Path) -> None:
        """A bundle that was taken in here, for the others. StoreUnavailable when they could not be given it."""
        ...

    async def bring(self, bundle: str, into: Path) -> bool:
        """A bundle that was taken in elsewhere; False when nobody has it."""
        ...


class Alone:
    """One relay: nobody else asks."""

    alone = True

    def tell(self, told: Sequence[Told]) -> None:
        return

    def changed(self, rows: Rows, key: str = "") -> None:
        return

    async def share(self, bundle: Path) -> None:
        return

    async def bring(self, bundle: str, into: Path) -> bool:
        return False
