"""MQTT topics, lanes and QoS between kits and the relay. A kit reads and writes only below its own name.

homeside/v1/{kit}/live       kit -> relay, QoS 1  what is being measured now
homeside/v1/{kit}/backfill   kit -> relay, QoS 1  what an outage held back, paced so that it never delays live data
homeside/v1/{kit}/status     kit -> relay, QoS 1  retained; the last will says `offline`
homeside/v1/{kit}/ack        relay -> kit, QoS 0  `ack` and `reject`; repeated if lost, when the kit sends again
homeside/v1/{kit}/command    relay -> kit, QoS 1  commands to the kit
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

ROOT = "homeside/v1"
KIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Lane(StrEnum):
    """The last part of a topic: live samples, delayed samples and status from a kit; acknowledgements and commands to
    it.
    """

    LIVE = "live"
    BACKFILL = "backfill"
    STATUS = "status"
    ACK = "ack"
    COMMAND = "command"


FROM_KITS = (Lane.LIVE, Lane.BACKFILL, Lane.STATUS)
TO_KITS = (Lane.ACK, Lane.COMMAND)


class Topic(NamedTuple):
    """A topic's parts."""

    kit: str
    lane: Lane


def valid_kit(name: str) -> bool:
    return KIT_NAME.fullmatch(name) is not None


def topic(kit: str, lane: Lane) -> str:
    """The topic of a lane. Raises ValueError unless `kit` is valid: '/', '+' or '#' would reach another
    kit's topics.
    """
    if not valid_kit(kit):
        raise ValueError(
            f"{kit!r} is no kit name: a letter or digit, then at most 63 of letters, digits, '.', '_' and '-'"
        )
    return f"{ROOT}/{kit}/{lane.value}"


def parse(name: str) -> Topic | None:
    """The kit and lane of a topic, or None when it is not one of ours."""
    parts = name.split("/")
    if len(parts) != 4 or "/".join(parts[:2]) != ROOT or not valid_kit(parts[2]):
        return None
    try:
        return Topic(parts[2], Lane(parts[3]))
    except ValueError:
        return None


def subscription(lane: Lane) -> str:
    """The subscription to one lane of all kits, for the relay."""
    return f"{ROOT}/+/{lane.value}"
