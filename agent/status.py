"""What a kit says of itself, retained on its status lane: numbers, and a sentence for what is the matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.channels import Channel
from agent.outbox import Outbox
from agent.uplink import Uplink
from agent.wall_clock import WallClock
from core.contracts.scg import message


class Status:
    """`uplink` and `command` are set by the wiring."""

    def __init__(self, version: str, channels: Sequence[Channel], outbox: Outbox, wall: WallClock) -> None:
        self.uplink: Uplink | None = None
        self.command: dict[str, Any] | None = None
        self._version, self._channels = version, channels
        self._outbox, self._wall = outbox, wall
        self._troubles: dict[Channel, tuple[str, int]] = {}

    def troubled(self, channel: Channel, text: str) -> bool:
        """Why a source does not run, from its supervisor; whether that is news."""
        news = text != self._problem(channel)
        self._troubles[channel] = text, channel.source.samples
        return news

    def _problem(self, channel: Channel) -> str | None:
        """What was the matter is over once samples come again."""
        text, samples = self._troubles.get(channel, (None, 0))
        if text is not None and channel.source.samples > samples:
            del self._troubles[channel]
            return None
        return text

    def _source(self, channel: Channel) -> dict[str, Any]:
        source, recorder = channel
        error_ms = recorder.error_ms
        return {
            "name": source.name,
            "problem": self._problem(channel),
            "session": recorder.session,
            "clockErrorMs": None if error_ms is None else round(error_ms, 3),
            **source.figures(),
        }

    def body(self, state: str) -> bytes:
        """The whole status message, `state` online or offline."""
        figures = self._outbox.figures
        first = self._channels[0].recorder
        error_ms = first.error_ms
        payload: dict[str, Any] = {
            "state": state,
            "version": self._version,
            "session": first.session,
            "backlog": figures.messages,
            "clockErrorMs": None if error_ms is None else round(error_ms, 3),
            "clockSteps": self._wall.steps,
            "sources": [self._source(channel) for channel in self._channels],
            "outbox": {
                "bytes": figures.bytes,
                "quotaBytes": figures.quota_bytes,
                "dropped": figures.dropped,
                "droppedFrom": figures.dropped_from_ms,
                "droppedTo": figures.dropped_to_ms,
                "damaged": figures.damaged,
                "rejected": figures.rejected,
                "unrecorded": sum(channel.recorder.unrecorded for channel in self._channels),
            },
            "uplink": self._uplink(),
            "command": self.command,
        }
        return message("status", payload)

    def _uplink(self) -> dict[str, Any]:
        if self.uplink is None:
            return {}
        counts = self.uplink.counts
        return {
            "mqtt": self.uplink.protocol,
            "problem": self.uplink.problem,
            "connections": counts.connections,
            "sent": counts.sent,
            "sentAgain": counts.sent_again,
            "acknowledged": counts.acknowledged,
            "refusedByBroker": counts.refused_by_broker,
            "malformed": counts.malformed,
        }
