"""The fingerspelling document as models: frames and commands in, detections and translations out.

Field names are the document's. Fields that the document does not name are optional here, so that a client written from
the document works unchanged.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from core.contracts.errors import InvalidMessage, MalformedMessage
from core.contracts.numbers import decoded
from core.contracts.text import NO_NUL

LANGUAGES = ("en", "ru", "kz")
MAX_SIGNS = 500
MAX_CONTEXT = 4_000
MAX_ID = 128
VERSION = "1.0.0"

SessionId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID, pattern=NO_NUL)]
Timestamp = Annotated[float, msgspec.Meta(ge=-9.1e15, le=9.1e15)]

_T = TypeVar("_T")


class Message(msgspec.Struct):
    """A message from a client's WebSocket."""

    type: Annotated[str, msgspec.Meta(max_length=64)]
    payload: msgspec.Raw


class Frame(msgspec.Struct):
    """A picture. `mirrored` says that it was flipped horizontally, as selfie previews are."""

    image: str
    timestamp: int | Timestamp
    session_id: SessionId | None = None
    mirrored: bool = False


class Command(msgspec.Struct):
    """`watch` follows another client's session; `calibration` names the calibration to use; `extras` adds the letters
    so far and the likely alternatives to each detection.
    """

    action: Literal["start", "stop", "clear", "watch"]
    session_id: SessionId
    language: Literal["en", "ru", "kz"] = "en"
    alphabet: Literal["letters", "digits", "both"] = "both"
    calibration: Annotated[str, msgspec.Meta(max_length=MAX_ID, pattern=NO_NUL)] = ""
    extras: bool = False


class KitLetters(msgspec.Struct, rename="camel"):
    """Signs recognised by a kit: the letters since its last message and, once a sequence is committed,
    that sequence.
    """

    session_id: SessionId
    letters: Annotated[list[KitLetter], msgspec.Meta(max_length=MAX_SIGNS)] = []
    sequence: Annotated[list[KitLetter], msgspec.Meta(max_length=MAX_SIGNS)] | None = None
    language: Literal["en", "ru", "kz"] = "en"


class KitLetter(msgspec.Struct):
    """A sign recognised at `t` (epoch ms); `likely` are (sign, probability) pairs, most probable first."""

    sign: Annotated[str, msgspec.Meta(min_length=1, max_length=1)]
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)]
    t: float
    likely: Annotated[list[tuple[str, float]], msgspec.Meta(max_length=5)] = []


def decode_message(data: bytes | str) -> Message:
    """Decode a message. Raises MalformedMessage or InvalidMessage."""
    try:
        return decoded(data, Message)
    except msgspec.ValidationError as error:
        raise InvalidMessage(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"Not a JSON message: {error}") from None


def decode_payload(raw: msgspec.Raw, kind: type[_T]) -> _T:
    """Decode a payload as `kind`. Raises InvalidMessage, which names the field."""
    try:
        return decoded(raw, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage(str(error)) from None


def message(kind: str, payload: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": kind, "payload": payload})


# -- bodies of the REST endpoints --------------------------------------------------------------------------------------


class TranslationRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sign_sequence: Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=MAX_SIGNS)]
    session_id: Annotated[str, Field(min_length=1, max_length=MAX_ID)]
    context: Annotated[str, Field(max_length=MAX_CONTEXT)] | None = None
    language: Annotated[str, Field(max_length=16)] = "en"


class TranslationResponse(BaseModel):
    """`fallback` is true when the offline speller gave the answer; `reason` says why."""

    translation: str
    confidence: float = Field(ge=0, le=1)
    session_id: str
    processing_time_ms: int
    alternatives: list[str] | None = None
    fallback: bool | None = None
    reason: str | None = None


class Exchange(BaseModel):
    signs: list[str]
    translation: str


class Context(BaseModel):
    session_id: str
    context: str
    history: list[Exchange]


class Cleared(BaseModel):
    message: str = "Session cleared successfully"
    session_id: str


class HealthResponse(BaseModel):
    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: str
    services: dict[str, Literal["up", "down"]]
    version: str = VERSION
    reasons: dict[str, str] | None = Field(None, description="Why a service is down.")


class BatchOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    frame_rate: float = Field(15, gt=0, le=60, description="Pictures a second that are looked at.")
    confidence_threshold: float = Field(0.0, ge=0, le=1, description="Letters read with less are left out.")


class BatchRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    video_url: Annotated[str, Field(min_length=1, max_length=2_000)]
    language: Annotated[str, Field(max_length=16)] = "en"
    options: BatchOptions = BatchOptions()


class BatchAccepted(BaseModel):
    job_id: str
    status: Literal["processing"] = "processing"
    estimated_time_ms: int


class BatchLetter(BaseModel):
    sign: str
    confidence: float
    time_ms: float


class BatchResult(BaseModel):
    translation: str
    signs_detected: list[str]
    confidence: float
    letters: list[BatchLetter] = []


class BatchStatus(BaseModel):
    job_id: str
    status: Literal["processing", "completed", "failed"]
    progress: float = Field(0.0, ge=0, le=1)
    result: BatchResult | None = None
    error: str | None = None
    code: str | None = None


class Problem(BaseModel):
    """Body of every error of this API; `code` is omitted where the document shows none."""

    error: str
    message: str
    code: str | None = None


class Calibration(BaseModel):
    """Frames of one person's letters: landmarks as in detections (x and y 0..1 of a picture that is not mirrored)."""

    letters: dict[
        Annotated[str, Field(pattern="^[A-IK-Y]$")],
        Annotated[
            list[
                Annotated[list[tuple[float, float] | tuple[float, float, float]], Field(min_length=21, max_length=21)]
            ],
            Field(min_length=3, max_length=40),
        ],
    ] = Field(min_length=3, max_length=24)
    aspect: float = Field(ge=0.2, le=5, description="Width over height of the pictures.")
    right: bool = Field(description="Whether it is the right hand.")


class Calibrated(BaseModel):
    name: str
    letters: list[str]
    frames: int
