"""NATS subjects of a cluster. NATS maps MQTT topics to subjects with dots instead of slashes.

homeside.v1.{kit}.{lane}                 a kit's MQTT topic; the server maps the lanes from kits to the next subject
homeside.ingest.{part}.{kit}.{lane}      with the kit's partition; in the replicated stream, heard by viewers' relays
homeside.live.{session}.{what}           between relays, at most once: a browser's batches, presence, changed rows
homeside.fleet                           between relays, at most once: kits' reports, and changed rows of the fleet
homeside.timer.{hash}                    between relays, at most once: a timer session's newest state
homeside.signs.{hash}                    in a stream kept in memory: the exchanges of a signing session
homeside.cameras                         each relay's cameras; homeside.video.{relay} takes an offer for one of them
homeside.relays                          each relay's heartbeat; homeside.clock.{relay} answers with its time
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
"""Number of partitions of the kits; at least the number of relays. The servers' mapping must use the same number."""


class Sorted(NamedTuple):
    """The parts of an ingest subject."""

    part: int
    topic: Topic


def mappings(partitions: int = PARTITIONS) -> dict[str, str]:
    """The subject mappings that the cluster's servers need, source to destination."""
    return {
        f"homeside.v1.*.{lane.value}": f"{INGEST}.{{{{partition({partitions},1)}}}}.{{{{wildcard(1)}}}}.{lane.value}"
        for lane in FROM_KITS
    }


def from_topic(topic: str) -> str:
    return topic.replace("/", ".")


def parse_ingest(subject: str) -> Sorted | None:
    """Partition and topic (kit and lane) of an ingest subject, or None when it is not one of ours."""
    parts = subject.split(".")
    if len(parts) != 5 or not subject.startswith(INGEST + ".") or not parts[2].isdigit() or not valid_kit(parts[3]):
        return None
    try:
        return Sorted(int(parts[2]), Topic(parts[3], Lane(parts[4])))
    except ValueError:
        return None


def kit_lane(kit: str, lane: Lane) -> str:
    """One lane of one kit, in whichever partition. Kit names must have no dot: it divides NATS subjects."""
    return f"{INGEST}.*.{kit}.{lane.value}"


def live(session_id: str, what: str = "*") -> str:
    return f"homeside.live.{session_id}.{what}"


def timer(session_id: str) -> str:
    """A session's id may be any text; its hash is valid as a token of a NATS subject."""
    return f"homeside.timer.{sha256(session_id.encode()).hexdigest()[:32]}"


def clock(relay: str) -> str:
    return f"homeside.clock.{relay}"


def signs(session: str) -> str:
    return f"homeside.signs.{session}"


def video(relay: str) -> str:
    return f"homeside.video.{relay}"
