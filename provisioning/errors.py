"""What can go wrong when kits are set up, tried out and shown.

ProvisioningError
├── LinkTaken          something that is not ours stands where the link to a simulated port should be
├── PortUnavailable    the system gives no pseudo-terminal, or the link's folder cannot be written
├── RecordingMissing   the file to play cannot be opened
├── PlaceTaken         a port or the folder of a demonstration is in use by another program
├── FolderUnusable     a demonstration cannot write where it was told to
├── SceneFailed        what a demonstration shows beside the heart could not be prepared
└── ProgramEnded       one of its programs ended, or did not get ready; with its last lines
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


class PlaceTaken(ProvisioningError):
    code = "PLACE_TAKEN"


class FolderUnusable(ProvisioningError):
    code = "FOLDER_UNUSABLE"


class SceneFailed(ProvisioningError):
    code = "SCENE_FAILED"


class ProgramEnded(ProvisioningError):
    code = "PROGRAM_ENDED"
