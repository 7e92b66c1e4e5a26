"""A light on the kit that says: pictures may leave this room now. It is an LED of the kernel's LED class.

`dtoverlay=gpio-led` makes one of a pin (Raspberry Pi firmware, overlays/README); the kit only writes its `brightness`.
"""

from __future__ import annotations

from pathlib import Path

from agent.privacy import Level


def show_on(led: Path | None, level: Level) -> None:
    """Switch the LED on for levels above the skeleton. Raises OSError when the LED cannot be set."""
    if led is not None:
        (led / "brightness").write_text("0" if level is Level.SKELETON else "1")
