"""What a kit says of itself, retained on its status lane: numbers, and a sentence for what is the matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.outbox import Outbox
from agent.recorder import Recorder
from agent.sources import Source
from agent.uplink import Uplink
from agent.wall_clock import WallClock
from core.contracts.scg import message


class Status:
    """`uplink`, `command` and `more` are set by the wiring."""

    def __init__(self, version: str, source: Source, recorder: Recorder, outbox: Outbox, wall: WallClock) -> None:
        self.uplink: Uplink | None = None
        self.command: dict[str, Any] | None = None
        self.more: Callable[[], dict[str, Any]] = dict
        """What is said beside measuring."""
        self._version, self._source, self._recorder = version, source, recorder
        self._outbox, self._wall = outbox, wall
        self._trouble: tuple[str, int] | None = None

    def troubled(self, text: str) -> bool:
        """Why the source does not run, from its supervisor; whether that is news."""
        news = text != self._source_problem()
        self._trouble = text, self._source.samples
        return news

    def _source_problem(self) -> str | None:
        """What was the matter is over once samples come again."""
        if self._trouble is not None and self._source.samples > self._trouble[1]:
            self._trouble = None
        return self._trouble[0] if self._trouble is not None else None

    def problem(self) -> str | None:
        """Why no samples come, when that is known."""
        return self._source_problem()

    def body(self, state: str) -> bytes:
        """The whole status message, `state` online or offline."""
        return message("status", self.payload(state))

    def payload(self, state: str) -> dict[str, Any]:
        figures = self._outbox.figures
        error_ms = self._recorder.error_ms
        return {
            "state": state,
            "version": self._version,
            "session": self._recorder.session,
            "backlog": figures.messages,
            "clockErrorMs": None if error_ms is None else round(error_ms, 3),
            "clockSteps": self._wall.steps,
            "sources": [{"name": self._source.name, "problem": self._source_problem(), **self._source.figures()}],
            "outbox": {
                "bytes": figures.bytes,
                "quotaBytes": figures.quota_bytes,
                "dropped": figures.dropped,
                "droppedFrom": figures.dropped_from_ms,
                "droppedTo": figures.dropped_to_ms,
                "damaged": figures.damaged,
                "rejected": figures.rejected,
                "unrecorded": self._recorder.unrecorded,
            },
            "uplink": self._uplink(),
            "command": self.command,
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
