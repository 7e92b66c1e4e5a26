"""What can be wrong with a message before its meaning is considered.

ContractError
├── MalformedMessage    not JSON, or not an object
├── InvalidMessage      JSON, but a field is missing, of the wrong type or out of bounds
├── UnknownType         well-formed, but of a type that the contract does not have
└── RecordingError      a file of recorded samples that cannot be read
"""

from __future__ import annotations

from typing import ClassVar


class ContractError(ValueError):
    """A message that breaks its contract. `code` is the code an API sends; the text says where and why."""

    code: ClassVar[str] = "INVALID_MESSAGE"


class MalformedMessage(ContractError):
    """The message is not JSON, or not an object."""

    code = "MALFORMED_MESSAGE"


class InvalidMessage(ContractError):
    """A field is missing, of the wrong type or out of bounds; the text names it."""

    code = "INVALID_MESSAGE"


class UnknownType(ContractError):
    """The contract has no message of this `type`."""

    code = "UNKNOWN_TYPE"


class RecordingError(ContractError):
    """A file of recorded samples does not follow its format."""

    code = "INVALID_RECORDING"
