"""The kit's status message, retained by the broker: figures, and a sentence for each problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from agent.channels import Channel
from agent.outbox import Outbox
from agent.uplink import Uplink
from agent.wall_clock import WallClock
from core.contracts.scg import message

if TYPE_CHECKING:
    from agent.vision.app import Watch


class Status:
    """Builds the status; `uplink`, `command` and `more` are set by the wiring."""

    def __init__(
        self, version: str, channels: Sequence[Channel], outbox: Outbox, wall: WallClock, watch: Watch | None = None
    ) -> None:
        self.uplink: Uplink | None = None
        self.command: dict[str, Any] | None = None
        self.more: Callable[[], dict[str, Any]] = dict
        """Supplies the part of status that does not concern measuring."""
        self._version, self._channels, self._watch = version, channels, watch
        self._outbox, self._wall = outbox, wall
        self._troubles: dict[Channel, tuple[str, int]] = {}

    def troubled(self, channel: Channel, text: str) -> bool:
        """Called by a source's supervisor with the reason why it does not run; returns whether the reason is new."""
        news = text != self._problem(channel)
        self._troubles[channel] = text, channel.source.samples
        return news

    def _problem(self, channel: Channel) -> str | None:
        """The source's problem, forgotten as soon as samples arrive again."""
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

    def problem(self) -> str | None:
        """Why a sensor or the camera gives nothing, if known."""
        found = [self._problem(channel) for channel in self._channels]
        found.append(self._watch.figures()["camera"]["problem"] if self._watch is not None else None)
        return next((text for text in found if text), None)

    def body(self, state: str) -> bytes:
        """The complete status message; `state` is online or offline."""
        return message("status", self.payload(state))

    def payload(self, state: str) -> dict[str, Any]:
        figures = self._outbox.figures
        first = self._channels[0].recorder if self._channels else None
        error_ms = first.error_ms if first is not None else None
        return {
            "state": state,
            "version": self._version,
            "session": first.session if first is not None else None,
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
            **(self._watch.figures() if self._watch is not None else {}),
            **self.more(),
        }

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
