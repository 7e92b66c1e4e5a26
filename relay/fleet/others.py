"""What a relay tells the other relays of the fleet, as the service sees it; and the one of a relay that is alone.

Which relay takes a kit's status may change at any time. All of them know the same of every kit, seconds late at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from relay.fleet.rules import Told


class Rows(StrEnum):
    """What was changed in the database by somebody's wish, and is to be read anew."""

    KIT = "kit"
    PACKAGES = "packages"
    ROLLOUTS = "rollouts"


class Others(Protocol):
    """Each returns at once. What is told is committed."""

    alone: bool

    def tell(self, told: Sequence[Told]) -> None:
        """What kits said, whose messages this relay takes."""
        ...

    def changed(self, rows: Rows, key: str = "") -> None: ...


class Alone:
    """One relay: nobody else asks."""

    alone = True

    def tell(self, told: Sequence[Told]) -> None:
        return

    def changed(self, rows: Rows, key: str = "") -> None:
        return
