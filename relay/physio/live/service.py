"""Exercises observed by a kit, live and stored: who may assign a kit, whose frames are accepted, who is watching.

Viewers receive frames at once; a background duty stores them, and only then are they acknowledged. Frames that could
not be stored are not acknowledged, so the kit sends them again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from core.contracts import scg
from core.contracts.errors import ContractError, InvalidMessage
from core.contracts.physio import PoseData
from relay.accounts.service import Visit
from relay.auth import Role
from relay.errors import ConsentMissing, Forbidden, Full, NotFound, RelayError, Unstorable
from relay.physio.frames.store import FrameStore
from relay.physio.live import rules
from relay.physio.live.rules import KitFrames
from relay.physio.live.store import LiveStore
from relay.physio.service import PhysioService
from relay.physio.shapes import Row
from relay.rooms import Audience, Member, Room

log = structlog.get_logger(__name__)

MAX_WAITING = 2_000
"""Most messages of frames not yet committed: several minutes from a ward of kits. Further ones are not accepted."""
MAX_VIEWERS = 500
RETRY_S = 1.0
CHECK_EVERY_MS = 5_000.0
"""How long the kit's assignment and the patient's consent are used from memory before they are read again."""
NO_CONSENT = (
    "The patient has not agreed to being recorded. "
    "The patient does so with PUT /api/patients/profile and consent_given true."
)
NOT_YOURS = (
    "This kit was not the last to see you. Whoever treats you starts it the first time, and after it was elsewhere."
)
Command = Callable[[str, str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    session: str
    data: KitFrames
    done: Callable[[], None]


@dataclass(eq=False)
class Watched:
    """In-memory state of a session, kept while a kit observes it or somebody watches it."""

    session: str
    room: Room
    kit: str | None = None
    exercise: str = ""
    ended: bool = True
    consented: bool = False
    checked_ms: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)
    online: bool = False

    @property
    def body(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "kit": self.kit,
            "exercise": self.exercise,
            "watching": self.kit is not None and not self.ended,
            "online": self.online,
            **self.state,
        }


class LiveService:
    """`command(kit, name, args)` sends a command down to a kit."""

    def __init__(
        self,
        store: LiveStore,
        frames: FrameStore,
        physio: PhysioService,
        command: Command,
        now_ms: Callable[[], float],
        dropped: Callable[[int], None],
        *,
        consent_required: bool,
    ) -> None:
        self._store, self._frames, self._physio = store, frames, physio
        self._command, self._now_ms, self._dropped = command, now_ms, dropped
        self._consent_required = consent_required
        self._watched: dict[str, Watched] = {}
        self._waiting: deque[_Waiting] = deque()
        self._work = asyncio.Event()
        self._told: dict[str, dict[str, Any]] = {}
        """The last status of each kit that observes or has observed a session."""
        self._seeing: dict[str, str] = {}
        """The exercise session each kit last reported."""

    # -- who sees what -------------------------------------------------------------------------------------------

    async def assign(self, visit: Visit, session: str, kit: str) -> Row:
        """Assign `kit` to observe this session from now on."""
        await self._physio.visible(visit, session)
        if visit.account.role is Role.PATIENT and not await self._store.last_saw_patient_of(session, kit):
            raise Forbidden(NOT_YOURS)
        found, _ = await self._physio.details(visit, session)
        if self._consent_required and not await self._store.consented(session):
            raise ConsentMissing(NO_CONSENT)
        await self._store.assign(session, kit, self._now())
        for other in self._watched.values():
            other.ended = other.ended or other.kit == kit
        watched = await self._known(session, older_than_ms=0)
        self._start(watched)
        watched.room.publish(rules.state(watched.body), (Audience.VIEWER,))
        log.info("kit_assigned", session=session, kit=kit, exercise=found["session"]["exercise_type"])
        return watched.body

    async def release(self, visit: Visit, session: str) -> Row:
        """End the kit's assignment; frames it has recorded but not yet sent are still accepted."""
        await self._physio.details(visit, session)
        watched = await self._known(session)
        if watched.kit is not None and not watched.ended:
            await self._store.release(session, self._now())
            self._end(watched)
        return watched.body

    async def set_privacy(self, visit: Visit, session: str, level: str, minutes: float) -> Row:
        """Ask the kit to show more or less of the picture. Only the patient may allow more; anybody may ask for
        less.
        """
        await self._physio.details(visit, session)
        if level != "skeleton" and visit.account.role is not Role.PATIENT:
            raise Forbidden("Only the patient can agree that pictures leave the home.")
        watched = await self._known(session)
        if watched.kit is None or watched.ended:
            raise NotFound("No kit sees this session. Assign one first.")
        by = f"{visit.account.role.value} {visit.account.id}"
        self._command(watched.kit, "set_privacy", {"level": level, "minutes": minutes, "by": by})
        log.info("privacy_asked", session=session, kit=watched.kit, level=level, minutes=minutes)
        return watched.body

    async def show(self, visit: Visit, session: str) -> Row:
        """Which kit observes a session, and its current state."""
        await self._physio.details(visit, session)
        return (await self._known(session)).body

    # -- from kits -----------------------------------------------------------------------------------------------

    async def take(self, kit: str, data: KitFrames, session: str, done: Callable[[], None], *, present: bool) -> None:
        """Take frames of a session from the kit assigned to it. `done` is called once they are committed."""
        watched = await self._known(session)
        if watched.kit != kit:
            self._forget(watched)
            self._command(kit, "end_session", {"session": session})
            raise InvalidMessage("This session is not for this kit to see; assign the kit to it first")
        if self._consent_required and not watched.consented:
            raise ConsentMissing(NO_CONSENT)
        if len(self._waiting) >= MAX_WAITING:
            raise Full("More frames wait to be stored than this relay holds; send again")
        if present and watched.room.members:
            watched.room.publish(rules.pose(data), (Audience.VIEWER,))
        self._waiting.append(_Waiting(session, data, done))
        self._work.set()

    def heard(self, kit: str, payload: dict[str, Any], online: bool) -> None:
        """Pass a kit's status on to viewers; a kit that has lost track of its exercise is sent the command again."""
        self._told[kit] = rules.of_status(payload) | {"online": online}
        exercise = rules.exercise_of(payload)
        if online and exercise is not None:
            self._seeing[kit] = exercise
        else:
            self._seeing.pop(kit, None)
        for watched in self._watched.values():
            if watched.kit != kit or watched.ended:
                continue
            before = watched.body
            self._learn(watched)
            if online and exercise != watched.session:
                self._start(watched)
            if watched.body != before:
                watched.room.publish(rules.state(watched.body), (Audience.VIEWER,))

    async def load(self) -> None:
        """Load the sessions that had a kit assigned when the relay last stopped."""
        for row in await self._store.open():
            await self._known(str(row["session_id"]))

    async def check_for_ever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_MS / 1000)
            try:
                await self.checked()
            except RelayError as error:
                log.warning("kits_sessions_not_checked", reason=str(error))

    async def checked(self) -> None:
        """Stop kits whose session was deleted, whose patient withdrew consent, or whose session ended while they were
        offline.
        """
        seen = [one for one in self._watched.values() if one.kit is not None and not one.ended]
        going_on = {str(row["session_id"]): row for row in await self._store.open()} if seen or self._seeing else {}
        for watched in seen:
            row = going_on.get(watched.session)
            if row is None:
                self._end(watched)
                watched.kit = None
            elif self._consent_required and not row["consent_given"]:
                await self._store.release(watched.session, self._now())
                watched.consented = False
                self._end(watched)
            self._forget(watched)
        for kit, session in list(self._seeing.items()):
            row = going_on.get(session)
            if row is None or row["kit"] != kit:
                self._command(kit, "end_session", {"session": session})
                log.info("kit_told_again", session=session, kit=kit)

    async def store_for_ever(self) -> None:
        await self.load()
        while True:
            await self._work.wait()
            self._work.clear()
            await self.drained()

    async def drained(self) -> None:
        """Commit all waiting messages, those of one session together."""
        while self._waiting:
            session = self._waiting[0].session
            taken = [one for one in self._waiting if one.session == session]
            frames = [frame for one in taken for frame in one.data.frames]
            try:
                if frames:
                    await self._frames.add(session, PoseData(frames))
            except (NotFound, Unstorable) as error:
                log.warning("frames_not_kept", session=session, frames=len(frames), reason=str(error))
            except RelayError as error:
                log.warning("frames_not_stored", session=session, reason=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            left = set(map(id, taken))
            self._waiting = deque(one for one in self._waiting if id(one) not in left)
            for one in taken:
                one.done()

    # -- who looks -----------------------------------------------------------------------------------------------

    async def enter(self, visit: Visit, session: str) -> Watched:
        """The session, for a viewer who may see it; the access is recorded in the audit trail."""
        await self._physio.details(visit, session)
        if sum(len(one.room.members) for one in self._watched.values()) >= MAX_VIEWERS:
            raise Full("This relay holds as many viewers of exercises as it can. Try again later.")
        return await self._known(session)

    def join(self, watched: Watched, member: Member) -> None:
        watched.room.join(member)
        watched.room.send(member, rules.state(watched.body))

    def message(self, watched: Watched, member: Member, data: str | bytes) -> None:
        """Answer a heartbeat; every other message from a viewer is ignored."""
        try:
            envelope = scg.decode_envelope(data)
            sent = scg.decode_payload(envelope.payload, scg.Ping).sent if envelope.type == "ping" else None
        except ContractError:
            return
        if sent is not None:
            watched.room.send(member, scg.message("pong", {"sent": sent, "serverTime": self._now_ms()}))

    def leave(self, watched: Watched, member: Member) -> None:
        watched.room.leave(member)
        self._forget(watched)

    # -- shared --------------------------------------------------------------------------------------------------

    async def _known(self, session: str, *, older_than_ms: float = CHECK_EVERY_MS) -> Watched:
        """The session's state, read from the database again if it is older than `older_than_ms`."""
        now = self._now_ms()
        found = self._watched.get(session)
        if found is None or now - found.checked_ms >= older_than_ms:
            row = await self._store.of_session(session)
            found = self._watched.setdefault(session, Watched(session, Room(self._now_ms, on_drop=self._dropped)))
            found.checked_ms = now
            if row is not None:
                found.kit, found.exercise = row["kit"], row["exercise_type"] or ""
                found.ended, found.consented = row["ended_at"] is not None, bool(row["consent_given"])
            self._learn(found)
        return found

    def _forget(self, watched: Watched) -> None:
        """Drop the session from memory once no kit observes it and nobody watches."""
        if watched.ended and not watched.room.members:
            self._watched.pop(watched.session, None)

    def _learn(self, watched: Watched) -> None:
        told = dict(self._told.get(watched.kit or "", {}))
        watched.online = bool(told.pop("online", False))
        watched.state = told

    def _start(self, watched: Watched) -> None:
        assert watched.kit is not None
        self._command(watched.kit, "start_session", {"session": watched.session, "exercise": watched.exercise})

    def _end(self, watched: Watched) -> None:
        assert watched.kit is not None
        watched.ended = True
        self._command(watched.kit, "end_session", {"session": watched.session})
        watched.room.publish(rules.state(watched.body), (Audience.VIEWER,))
        log.info("kit_released", session=watched.session, kit=watched.kit)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)
