"""NATS subjects of a cluster. Kits publish to MQTT topics; NATS knows them with dots for slashes.

homeside.v1.{kit}.{lane}                 what a kit's MQTT topic is called here; the server maps the lanes upwards to
homeside.ingest.{part}.{kit}.{lane}      partition of the kit; in the replicated stream, and heard by viewers' relays
homeside.live.{session}.{what}           between relays, at most once: a browser's batches, who is there, what changed
homeside.fleet                           between relays, at most once: what kits said, which rows of the fleet changed
homeside.timer.{hash}                    between relays, at most once: a timer session's newest state
homeside.signs.{hash}                    in a stream kept in memory: what a signing session said
homeside.cameras                         every relay's cameras; homeside.video.{relay} takes an offer for one of them
homeside.relays                          every relay's heartbeat; homeside.clock.{relay} answers with its time
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from core.contracts.topics import FROM_KITS, Lane, Topic, valid_kit

STREAM = "HOMESIDE_INGEST"
SIGNS = "HOMESIDE_SIGNS"
INGEST = "homeside.ingest"
ALIVE = "homeside.relays"
CAMERAS = "homeside.cameras"
FLEET = "homeside.fleet"
PARTITIONS = 8
"""How many ways kits are shared out: at least as many as relays. The servers' mapping says the same number."""


class Sorted(NamedTuple):
    """What an ingest subject says."""

    part: int
    topic: Topic


def mappings(partitions: int = PARTITIONS) -> dict[str, str]:
    """The subject mappings a cluster's servers need, source to destination."""
    return {
        f"homeside.v1.*.{lane.value}": f"{INGEST}.{{{{partition({partitions},1)}}}}.{{{{wildcard(1)}}}}.{lane.value}"
        for lane in FROM_KITS
    }


def from_topic(topic: str) -> str:
    return topic.replace("/", ".")


def parse_ingest(subject: str) -> Sorted | None:
    """Partition, kit and lane of an ingest subject, or None when it is not one of ours."""
    parts = subject.split(".")
    if len(parts) != 5 or not subject.startswith(INGEST + ".") or not parts[2].isdigit() or not valid_kit(parts[3]):
        return None
    try:
        return Sorted(int(parts[2]), Topic(parts[3], Lane(parts[4])))
    except ValueError:
        return None


def kit_lane(kit: str, lane: Lane) -> str:
    """Everything of one kit's lane, in whichever partition. MQTT names with a dot are no NATS tokens: see the docs."""
    return f"{INGEST}.*.{kit}.{lane.value}"


def live(session_id: str, what: str = "*") -> str:
    return f"homeside.live.{session_id}.{what}"


def timer(session_id: str) -> str:
    """A timer session's id is any text; its hash is a token."""
    return f"homeside.timer.{sha256(session_id.encode()).hexdigest()[:32]}"


def clock(relay: str) -> str:
    return f"homeside.clock.{relay}"


def signs(session: str) -> str:
    return f"homeside.signs.{session}"


def video(relay: str) -> str:
    return f"homeside.video.{relay}"
