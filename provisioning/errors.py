"""What can go wrong when kits are set up, tried out and shown.

ProvisioningError
├── LinkTaken          something that is not ours stands where the link to a simulated port should be
├── PortUnavailable    the system gives no pseudo-terminal, or the link's folder cannot be written
└── RecordingMissing   the file to play cannot be opened
"""

from __future__ import annotations

from typing import ClassVar


class ProvisioningError(Exception):
    """`code` is for machines, the text says what was wrong and what to do."""

    code: ClassVar[str] = "PROVISIONING"


class LinkTaken(ProvisioningError):
    code = "LINK_TAKEN"


class PortUnavailable(ProvisioningError):
    code = "PORT_UNAVAILABLE"


class RecordingMissing(ProvisioningError):
    code = "RECORDING_MISSING"
