"""A light on the kit that says: pictures may leave this room now. An LED as the kernel knows them.

A pin becomes such an LED with `dtoverlay=gpio-led` (Raspberry Pi firmware, overlays/README); the kit only writes to its
`brightness`.
"""

from __future__ import annotations

from pathlib import Path

from agent.privacy import Level


def show_on(led: Path | None, level: Level) -> None:
    """Lit above the skeleton. Raises OSError when there is such a light and it does not obey."""
    if led is not None:
        (led / "brightness").write_text("0" if level is Level.SKELETON else "1")
