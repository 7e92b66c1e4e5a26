"""The physiotherapy document as models: request bodies with their bounds, and the frames that are streamed in.

Small bodies are validated completely, so that an answer can name every bad field. Frames are the hot path: a body is
decoded and validated in one pass, and only one that fails is examined frame by frame, to say which and why.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from core.contracts.errors import InvalidMessage
from core.contracts.numbers import Whole, decoded
from core.contracts.text import NO_NUL

MAX_FRAMES = 5_000
"""Frames in one body: five minutes at 15 per second. Senders with more must split it into several bodies."""
MAX_TIMESTAMP_MS = 2**53 - 1
MAX_PROBLEMS = 20
EXERCISES = ("squat", "squat_front", "shoulder_raise", "glute_bridge", "wall_sit")
ASSESSMENTS = ("EXCELLENT", "GOOD", "FAIR", "POOR")
STATUSES = ("pending", "recording", "processing", "review_pending", "reviewed", "completed")

LandmarkName = Literal[
    "NOSE",
    "LEFT_EYE_INNER",
    "LEFT_EYE",
    "LEFT_EYE_OUTER",
    "RIGHT_EYE_INNER",
    "RIGHT_EYE",
    "RIGHT_EYE_OUTER",
    "LEFT_EAR",
    "RIGHT_EAR",
    "MOUTH_LEFT",
    "MOUTH_RIGHT",
    "LEFT_SHOULDER",
    "RIGHT_SHOULDER",
    "LEFT_ELBOW",
    "RIGHT_ELBOW",
    "LEFT_WRIST",
    "RIGHT_WRIST",
    "LEFT_PINKY",
    "RIGHT_PINKY",
    "LEFT_INDEX",
    "RIGHT_INDEX",
    "LEFT_THUMB",
    "RIGHT_THUMB",
    "LEFT_HIP",
    "RIGHT_HIP",
    "LEFT_KNEE",
    "RIGHT_KNEE",
    "LEFT_ANKLE",
    "RIGHT_ANKLE",
    "LEFT_HEEL",
    "RIGHT_HEEL",
    "LEFT_FOOT_INDEX",
    "RIGHT_FOOT_INDEX",
]
"""BlazePose's 33 landmarks, in the order of their indices."""
Severity = Literal["LOW", "MEDIUM", "HIGH"]
IssueType = Literal["ANGLE_WARNING", "ASYMMETRY_WARNING", "DEPTH_WARNING", "TEMPO_WARNING", "VISIBILITY_WARNING"]


class Invalid(InvalidMessage):
    """Several fields break the contract; `problems` holds (field, what is wrong) pairs."""

    code = "VALIDATION_ERROR"

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {text}" for field, text in problems))
        self.problems = problems


# -- frames ----------------------------------------------------------------------------------------------------------

Coordinate = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
Unit = Annotated[float, msgspec.Meta(ge=0, le=1)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Joint = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Landmark(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Coordinates as shares of the picture (x and y are 0..1 inside it); z is on the scale of x."""

    type: LandmarkName
    x: Coordinate
    y: Coordinate
    z: Coordinate = 0.0
    visibility: Unit | None = None


class FormIssue(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    type: IssueType
    message: Annotated[str, msgspec.Meta(max_length=500, pattern=NO_NUL)]
    severity: Severity
    joint: Joint | None = None


class Processing(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An optional extra on how a frame was made: `picture` is the width and height in pixels that the coordinates refer
    to.

    `interpolated`: nobody was detected in this picture; the pose is interpolated from the frames before and after.
    """

    picture: tuple[Pixels, Pixels] | None = None
    interpolated: bool = False


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One pose: `timestamp` in ms, `angles` in degrees 0..180 by joint."""

    timestamp: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIMESTAMP_MS)]
    landmarks: Annotated[list[Landmark], msgspec.Meta(max_length=33)]
    angles: Annotated[dict[Joint, Annotated[float, msgspec.Meta(ge=0, le=180)]], msgspec.Meta(max_length=64)] | None = (
        None
    )
    quality_score: Unit | None = None
    form_issues: Annotated[list[FormIssue], msgspec.Meta(max_length=64)] | None = None
    processing_metadata: Processing | None = None


class PoseData(msgspec.Struct, frozen=True):
    """The body of `POST …/data`. The sender's `summary_statistics` are stored, but never shown as measured."""

    frames: Annotated[list[Frame], msgspec.Meta(min_length=1, max_length=MAX_FRAMES)]
    summary_statistics: dict[str, Any] | None = None


class _RawPoseData(msgspec.Struct):
    frames: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_FRAMES)]
    summary_statistics: dict[str, Any] | None = None


_raw_decoder = msgspec.json.Decoder(_RawPoseData)


def decode_pose_data(data: bytes) -> PoseData:
    """Decode and validate the body. Raises Invalid, which names up to MAX_PROBLEMS fields by frame."""
    try:
        return decoded(data, PoseData)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(_problems(data, error)) from None


def _problems(data: bytes, error: Exception) -> list[tuple[str, str]]:
    try:
        frames = _raw_decoder.decode(data).frames
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as whole:
        return [_problem(whole)]
    found: list[tuple[str, str]] = []
    for number, raw in enumerate(frames):
        try:
            decoded(raw, Frame)
        except (msgspec.DecodeError, UnicodeDecodeError) as bad:
            found.append(_problem(bad, f"frames[{number}]"))
        if len(found) == MAX_PROBLEMS:
            break
    return found or [_problem(error)]


def _problem(error: Exception, within: str = "") -> tuple[str, str]:
    """Split a message of msgspec (``Expected …, got … - at `$.field` ``) into field and text."""
    text, _, path = str(error).partition(" - at `")
    field = path.rstrip("`").removeprefix("key` in `").removeprefix("$").lstrip(".")
    return ".".join(part for part in (within, field) if part) or "body", text


# -- small bodies ----------------------------------------------------------------------------------------------------


YEARS = (1900, 2200)
"""Dates outside are taken for typing errors; at the calendar's very ends, adding hours or a time zone
would overflow."""


def _utc(moment: datetime) -> datetime:
    if not YEARS[0] <= moment.year <= YEARS[1]:
        raise ValueError(f"lies outside the years {YEARS[0]} to {YEARS[1]}")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds a NUL character, which no database stores")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
Moment = Annotated[datetime, Field(strict=False), AfterValidator(_utc)]
Identity = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", to_lower=True)
]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Line = Annotated[Text, Field(max_length=500)]
Words = Annotated[Text, Field(max_length=10_000)]
Lines = Annotated[list[Line], Field(max_length=100)]
Seconds = Annotated[Whole, Field(ge=1, le=86_400)]


class Body(BaseModel):
    """Unknown fields are ignored, so that a client may send back a whole object it has read and changed."""

    model_config = ConfigDict(extra="ignore")


class Login(Body):
    email: Annotated[Text, Field(min_length=3, max_length=255)]
    password: Annotated[str, Field(min_length=1, max_length=1024)]


class CreateSession(Body):
    patient_id: Identity
    exercise_type: Name
    scheduled_datetime: Moment | None = None
    estimated_duration: Seconds | None = Field(None, description="seconds")
    instructions: Words | None = None


class UpdateSession(Body):
    exercise_type: Name | None = None
    scheduled_datetime: Moment | None = None
    estimated_duration: Seconds | None = None
    instructions: Words | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    equipment_used: Lines | None = None
    environment_notes: Words | None = None
    status: Literal["pending", "recording", "processing", "review_pending", "reviewed", "completed"] | None = None


class GenerateUrl(Body):
    session_id: Identity
    content_type: Annotated[str, Field(pattern=r"^video/[a-z0-9.+-]{1,40}$")] = "video/mp4"


class Feedback(Body):
    """A remark on one moment of the session; `timestamp` in ms, on the time scale of the frames."""

    timestamp: Annotated[Whole, Field(ge=0, le=MAX_TIMESTAMP_MS)]
    issue: Line
    recommendation: Line | None = None
    severity: Severity | None = None


class NextSteps(Body):
    recommended_exercises: Annotated[list[Name], Field(max_length=50)] | None = None
    frequency: Annotated[Text, Field(max_length=200)] | None = None
    follow_up_date: Moment | None = None


class SubmitReview(Body):
    session_id: Identity
    notes: Words | None = None
    overall_assessment: Literal["EXCELLENT", "GOOD", "FAIR", "POOR"]
    form_feedback: Annotated[list[Feedback], Field(max_length=500)] = []
    next_steps: NextSteps | None = None


class EmergencyContact(BaseModel):
    """Further keys are allowed beside the usual three: the document gives no shape."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[Text, Field(max_length=200)] | None = None
    phone: Annotated[Text, Field(max_length=50)] | None = None
    relationship: Annotated[Text, Field(max_length=100)] | None = None


class UpdateProfile(Body):
    first_name: Annotated[Text, Field(max_length=100)] | None = None
    last_name: Annotated[Text, Field(max_length=100)] | None = None
    phone: Annotated[Text, Field(max_length=20)] | None = None
    date_of_birth: date | None = None
    medical_conditions: Lines | None = None
    medications: Lines | None = None
    emergency_contact: EmergencyContact | None = None
    consent_given: bool | None = None
