"""What a kit sends during an exercise, and what viewers receive. Pure.

A kit's message holds the documented frames and the current state beside them: repetitions, advice, frame rate. Viewers
receive both unchanged and at once; storing happens afterwards.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, StringConstraints

from core.contracts.errors import InvalidMessage
from core.contracts.physio import MAX_FRAMES, Body, Frame
from core.contracts.topics import KIT_NAME

MAX_LIVE_BYTES = 4_096
encode = msgspec.json.Encoder().encode


class KitFrames(msgspec.Struct, rename="camel"):
    """Payload of `pose_frames`. An empty list of frames means that the camera sees nobody."""

    session_id: str
    frames: Annotated[list[Frame], msgspec.Meta(max_length=MAX_FRAMES)]
    live: msgspec.Raw = msgspec.Raw(b"{}")


class AssignKit(Body):
    kit: Annotated[str, StringConstraints(pattern=f"^{KIT_NAME.pattern}$")]


class SetPrivacy(Body):
    level: Literal["skeleton", "blurred", "clear"]
    minutes: Annotated[float, Field(ge=0, le=240)] = 0


def decode(payload: msgspec.Raw) -> KitFrames:
    """Raises InvalidMessage naming the field that is wrong."""
    try:
        found = msgspec.json.decode(payload, type=KitFrames)
        live = msgspec.json.decode(found.live)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidMessage(str(error)) from None
    if not isinstance(live, dict) or len(found.live) > MAX_LIVE_BYTES:
        raise InvalidMessage(f"Expected an object of at most {MAX_LIVE_BYTES} bytes - at `$.live`")
    return found


def pose(payload: KitFrames) -> bytes:
    """Message to viewers: the newest frames and the state that came with them."""
    return encode({"type": "pose", "payload": {"frames": payload.frames, "live": payload.live}})


def state(body: dict[str, Any]) -> bytes:
    """Message to viewers: which kit observes the session, whether it is online, and which pictures may leave the
    home.
    """
    return encode({"type": "state", "payload": body})


def of_status(payload: dict[str, Any]) -> dict[str, Any]:
    """The parts of a kit's status that a viewer of an exercise needs; everything else is left out."""
    known: dict[str, Any] = {}
    for section, keys in (
        ("camera", ("fps", "problem")),
        ("vision", ("fps", "ageP95Ms", "model", "problem")),
        ("privacy", ("level", "until")),
    ):
        found = payload.get(section)
        if isinstance(found, dict):
            known[section] = {key: found.get(key) for key in keys}
    return known


def exercise_of(payload: dict[str, Any]) -> str | None:
    """Id of the exercise session that a kit's status reports; None if it reports none."""
    found = payload.get("exercise")
    session = found.get("session") if isinstance(found, dict) else None
    return session if isinstance(session, str) else None
