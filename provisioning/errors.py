"""What can go wrong when kits are set up, tested and demonstrated.

ProvisioningError
├── LinkTaken          another file exists where the link to a simulated port should be
├── PortUnavailable    the system provides no pseudo-terminal, or the link's folder cannot be written
├── RecordingMissing   the file to play cannot be opened
├── PlaceTaken         a port or the folder of a demonstration is in use by another program
├── FolderUnusable     a demonstration cannot write to its folder
├── SceneFailed        what a demonstration shows beside the heart could not be prepared
├── ProgramEnded       one of its programs ended or did not become ready; with its last lines
├── SettingsError      a setting or option is wrong; nothing was done
├── ReleaseUnusable    a bundle that is not what it should be, or cannot be made
├── UpdateRefused      a release this kit does not accept: unsigned, older, corrupt, for another machine, no room
├── Unreachable        the source of a release does not answer; tried again later
├── InstallFailed      the services could not be installed here; what was begun can be undone
├── TableUnusable      a table of kits with a line that cannot be used
└── ImageUnusable      the folder is no boot partition, or cannot be written
"""

from __future__ import annotations

from typing import ClassVar


class ProvisioningError(Exception):
    """`code` is for programs; the text says what was wrong and what to do."""

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
