"""What can be wrong with a message, before anybody looks at what it means.

ContractError
├── MalformedMessage    not JSON, or not an object
├── InvalidMessage      JSON, but a field is missing, of the wrong type or out of bounds
├── UnknownType         a well-formed message of a type nobody here speaks
└── RecordingError      a file of recorded samples that cannot be read as one
"""

from __future__ import annotations

from typing import ClassVar


class ContractError(ValueError):
    """A message that breaks its contract. `code` is what an API puts on the wire; the text says where and why."""

    code: ClassVar[str] = "INVALID_MESSAGE"


class MalformedMessage(ContractError):
    """It is no JSON message at all."""

    code = "MALFORMED_MESSAGE"


class InvalidMessage(ContractError):
    """A field is missing, of another type or out of its bounds; the text names it."""

    code = "INVALID_MESSAGE"


class UnknownType(ContractError):
    """The contract knows no message of this `type`."""

    code = "UNKNOWN_TYPE"


class RecordingError(ContractError):
    """A file of a recording is not what its format promises."""

    code = "INVALID_RECORDING"
