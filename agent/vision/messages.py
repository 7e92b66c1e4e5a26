"""Messages between the agent and the vision process: one request per picture, one answer.

The picture itself is in shared memory; the socket pair preserves message boundaries.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from agent.vision.hands import Hand
from agent.vision.pose import Floats, Pose

Mode = Literal["pose", "hands"]
MAX_MESSAGE = 65_536


class Look(msgspec.Struct, array_like=True):
    """Request to analyse the picture in shared memory."""

    number: int
    captured_ns: int
    height: int
    width: int
    mode: Mode
    size: str


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """The first message: the network is closed and work may begin."""

    pid: int
    backend: str


class Body(msgspec.Struct, array_like=True):
    """A pose; arrays as the bytes of their float32."""

    landmarks: bytes
    visibility: bytes
    world: bytes
    score: float
    people: int


class Fingers(msgspec.Struct, array_like=True):
    landmarks: bytes
    world: bytes
    handedness: Literal["Left", "Right"]
    score: float
    side_score: float


class Saw(msgspec.Struct, array_like=True, tag="saw"):
    """The result for a picture, the time it took, and the process's memory."""

    number: int
    captured_ns: int
    took_ms: float
    rss_bytes: int
    body: Body | None = None
    hands: list[Fingers] = []


class Failed(msgspec.Struct, array_like=True, tag="failed"):
    """Why there will be no results: the models are missing, or the network could not be closed."""

    code: str
    text: str


Answer = Ready | Saw | Failed
encode = msgspec.msgpack.Encoder().encode
_looks = msgspec.msgpack.Decoder(Look)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def decode_look(data: bytes) -> Look:
    return _looks.decode(data)


def decode_answer(data: bytes) -> Answer:
    return _answers.decode(data)


def packed_pose(pose: Pose) -> Body:
    return Body(_bytes(pose.landmarks), _bytes(pose.visibility), _bytes(pose.world), pose.score, pose.people)


def pose_of(body: Body) -> Pose:
    return Pose(_points(body.landmarks), _floats(body.visibility), _points(body.world), body.score, body.people)


def packed_hand(hand: Hand) -> Fingers:
    return Fingers(_bytes(hand.landmarks), _bytes(hand.world), hand.handedness, hand.score, hand.side_score)


def hand_of(fingers: Fingers) -> Hand:
    landmarks, world = _points(fingers.landmarks), _points(fingers.world)
    return Hand(landmarks, world, fingers.handedness, fingers.score, fingers.side_score)


def _bytes(values: Floats) -> bytes:
    return values.astype(np.float32).tobytes()


def _floats(data: bytes) -> Floats:
    return np.frombuffer(data, np.float32)


def _points(data: bytes) -> Floats:
    return _floats(data).reshape(-1, 3)
