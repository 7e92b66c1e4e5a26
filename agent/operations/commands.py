"""The commands of the relay, carried out one after the other; the outcome of the last one is part of status.

start_session {session?}  start a session (with that UUID), ending the current one; further sensors start theirs too
start_session {session, exercise}  start a planned exercise session, whose frames are the camera's poses
end_session {session?}    end it, for every sensor; samples are discarded until the next start_session;
                          given the exercise's session, only that one ends
identify {sensor?}        ask a sensor to identify itself again: the first, or the one of that name in status
set_rate {hz, sensor?}    set the sensor's rate
set_privacy {level, minutes, by}  skeleton, blurred or clear: what may leave the home, for how long, and who agreed;
                          skeleton takes effect at once and cancels waiting commands that would raise it
look {for, session?, language?}  pose, hands or null: what to look for in the camera's pictures; hands are read as
                          letters into that session (any text; default: one of the kit's own)
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from agent.channels import Channel
from agent.errors import CommandRefused
from agent.privacy import Level
from agent.sources import Source

if TYPE_CHECKING:
    from agent.vision.app import Watch

log = structlog.get_logger(__name__)

MAX_WAITING = 16
"""A command takes a second at most, and our relay never sends this many at once; more are dropped and counted."""

Arguments = dict[str, Any]
Handler = Callable[[Arguments], Awaitable[dict[str, Any]]]


class Commands:
    """`take` queues a command, `run` carries them out, and `done` is called after each."""

    def __init__(
        self,
        channels: Sequence[Channel],
        watch: Watch | None = None,
        *,
        done: Callable[[], None],
        more: Mapping[str, Handler] | None = None,
    ) -> None:
        self.last: dict[str, Any] | None = None
        """Name, ok, and either the result or the code and message of the refusal."""
        self.dropped = 0
        self._channels, self._watch, self._done = channels, watch, done
        self._waiting: asyncio.Queue[tuple[str, Arguments, int]] = asyncio.Queue(MAX_WAITING)
        self._withdrawals = 0
        self._known: dict[str, Handler] = {
            "start_session": self._start_session,
            "end_session": self._end_session,
            "identify": self._identify,
            "set_rate": self._set_rate,
            **(more or {}),
            **(watch.commands() if watch is not None else {}),
        }

    def take(self, name: str, args: Arguments) -> None:
        if self._withdraws(name, args):
            return
        try:
            self._waiting.put_nowait((name, args, self._withdrawals))
        except asyncio.QueueFull:
            self.dropped += 1
            log.warning("command_dropped", name=name[:64], dropped=self.dropped)

    async def run(self) -> None:
        while True:
            name, args, withdrawals = await self._waiting.get()
            try:
                result = await self._carry_out(name, args, withdrawals)
            except CommandRefused as refused:
                self.last = {"name": name[:64], "ok": False, "code": refused.code, "message": str(refused)}
                log.warning("command_refused", name=name[:64], reason=str(refused))
            else:
                self.last = {"name": name, "ok": True, **result}
                log.info("command_done", name=name)
            self._done()

    def _withdraws(self, name: str, args: Arguments) -> bool:
        """Carry out the withdrawal of consent at once, ahead of any waiting or running command; returns whether it was
        one.
        """
        if self._watch is None or name != "set_privacy" or args.get("level") != Level.SKELETON.word:
            return False
        self._withdrawals += 1
        self._watch.privacy.withdraw(str(args.get("by", ""))[:200])
        self.last = {"name": name, "ok": True, "privacy": self._watch.privacy.figures()}
        log.info("command_done", name=name)
        self._done()
        return True

    async def _carry_out(self, name: str, args: Arguments, withdrawals: int) -> dict[str, Any]:
        if name == "set_privacy" and withdrawals != self._withdrawals:
            raise CommandRefused("set_privacy: consent was withdrawn while this waited")
        known = self._known.get(name)
        if known is None:
            raise CommandRefused(f"no command {name[:64]!r} here; there are {', '.join(self._known)}")
        return await known(args)

    async def _start_session(self, args: Arguments) -> dict[str, Any]:
        if "exercise" in args:
            if self._watch is None:
                raise CommandRefused("start_session: this kit has no camera to see an exercise with")
            return await self._watch.start_session(args)
        wanted = args.get("session")
        try:
            session = str(uuid.UUID(wanted)) if wanted is not None else None
        except (ValueError, AttributeError, TypeError):
            raise CommandRefused("start_session: session is a UUID, or left out") from None
        if not self._channels:
            raise CommandRefused("start_session: this kit has no sensor to record")
        first, *others = self._channels
        begun = first.recorder.begin(session)
        for channel in others:
            channel.recorder.begin()
        return {"session": begun}

    async def _end_session(self, args: Arguments) -> dict[str, Any]:
        watch, wanted = self._watch, args.get("session")
        exercise = watch.exercise.session if watch is not None else None
        if watch is not None and exercise is not None and wanted in (None, exercise):
            watch.end_session()
            if wanted == exercise:
                return {"session": exercise}
        going_on = [channel.recorder.session for channel in self._channels]
        if wanted is not None and wanted not in going_on:
            raise CommandRefused("end_session: that session is not going on here")
        session = going_on[0] if going_on else exercise
        for channel in self._channels:
            channel.recorder.end()
        return {"session": session}

    async def _identify(self, args: Arguments) -> dict[str, Any]:
        info = await self._meant(args).identify()
        return {"sensor": {"name": info.name, "kind": info.kind, "rateHz": info.rate_hz, "rangeG": info.range_g}}

    async def _set_rate(self, args: Arguments) -> dict[str, Any]:
        hz = args.get("hz")
        if isinstance(hz, bool) or not isinstance(hz, int | float):
            raise CommandRefused("set_rate: hz is a number")
        return {"rateHz": await self._meant(args).set_rate(float(hz))}

    def _meant(self, args: Arguments) -> Source:
        wanted = args.get("sensor")
        if not self._channels:
            raise CommandRefused("this kit has a camera alone, and no sensor")
        if wanted is None:
            return self._channels[0].source
        names = [channel.source.name for channel in self._channels]
        if wanted not in names:
            raise CommandRefused(f"no sensor {str(wanted)[:64]!r} here; there are {', '.join(names)}")
        return self._channels[names.index(wanted)].source
