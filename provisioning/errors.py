"""What can go wrong when kits are set up, tried out and shown.

ProvisioningError
├── LinkTaken          something that is not ours stands where the link to a simulated port should be
├── PortUnavailable    the system gives no pseudo-terminal, or the link's folder cannot be written
├── RecordingMissing   the file to play cannot be opened
├── PlaceTaken         a port or the folder of a demonstration is in use by another program
├── FolderUnusable     a demonstration cannot write where it was told to
├── SceneFailed        what a demonstration shows beside the heart could not be prepared
├── ProgramEnded       one of its programs ended, or did not get ready; with its last lines
├── SettingsError      what a program of ours was told is wrong; nothing was done
├── ReleaseUnusable    a bundle that is not what it should be, or cannot be made
├── UpdateRefused      a release this kit will not take: unsigned, older, corrupt, for another machine, no room
├── Unreachable        the place a release comes from does not answer; tried again later
├── InstallFailed      the services could not be installed here; what was begun can be undone
├── TableUnusable      a table of kits with a line that says nothing usable
└── ImageUnusable      a boot partition that is none, or cannot be written
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


class SettingsError(ProvisioningError):
    code = "SETTINGS"


class ReleaseUnusable(ProvisioningError):
    code = "RELEASE_UNUSABLE"


class UpdateRefused(ProvisioningError):
    code = "UPDATE_REFUSED"


class Unreachable(ProvisioningError):
    code = "UNREACHABLE"


class InstallFailed(ProvisioningError):
    code = "INSTALL_FAILED"


class TableUnusable(ProvisioningError):
    code = "TABLE_UNUSABLE"


class ImageUnusable(ProvisioningError):
    code = "IMAGE_UNUSABLE"
