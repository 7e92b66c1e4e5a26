"""Signing clients: each has its own reader and its own sequence of letters, which is translated to a sentence.

Documented clients get the documented messages and `translation`. Clients that ask for extras also get, with each
detection, the letters so far and the likely alternatives. Watchers of a session get its letters and sentences, but no
pictures.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from core.contracts import signs
from core.contracts.errors import ContractError, UnknownType
from core.fingerspelling.letters import LetterReader, Network
from core.fingerspelling.reader import Alphabet, SignReader
from core.fingerspelling.sequence import QUIET_MS, Sight, Taken
from core.fingerspelling.sequence import Sequence as Spelling
from relay.errors import Full, InvalidSession, RelayError
from relay.process.metrics import Metrics
from relay.signs.detection.lookout import Client, Look, Lookout, Seen, now_ns
from relay.signs.detection.pictures import decode
from relay.signs.translation.service import TranslationService

SESSIONS = 5_000
DONE = {"start": "started", "stop": "stopped", "clear": "cleared", "watch": "watching"}
_TICK_MS = 100.0

Load = Callable[[str | None, str], Awaitable[LetterReader]]
"""Loads the reader calibrated for (owner, name)."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all signing clients share."""

    lookout: Lookout
    translation: TranslationService
    network: Network
    calibrated: Load
    metrics: Metrics


class SigningService:
    """Signing clients and watchers, by session."""

    def __init__(self, shared: Shared, most_clients: int) -> None:
        self.shared = shared
        self._most = most_clients
        self._clients = 0
        self._watchers: dict[str, set[Signing]] = {}
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def enter(self) -> None:
        """Take a place for a signing client. Raises Full if there is none left."""
        if self._clients >= self._most:
            raise Full("Every place for signing clients is taken. Try again in a moment.")
        self._clients += 1
        self.shared.lookout.wake()
        self.shared.translation.warm()

    def leave(self, client: Signing) -> None:
        self._clients -= 1
        self.unwatch(client)

    def begun(self, session: str, owner: str | None) -> None:
        """Note that `owner` signs in this session, which from now on belongs to them for as long as it is
        remembered.
        """
        if owner is not None:
            self._owners.setdefault(session, owner)
            self._owners.move_to_end(session)
            while len(self._owners) > SESSIONS:
                self._owners.popitem(last=False)

    def may_watch(self, session: str, owner: str | None) -> None:
        """Raises InvalidSession if somebody else began the session."""
        holder = self._owners.get(session)
        if owner is not None and holder is not None and holder != owner:
            raise InvalidSession("Session not found")

    def watch(self, client: Signing, session: str) -> None:
        self.unwatch(client)
        self._watchers.setdefault(session, set()).add(client)

    def unwatch(self, client: Signing) -> None:
        for session in [session for session, who in self._watchers.items() if client in who]:
            self._watchers[session].discard(client)
            if not self._watchers[session]:
                del self._watchers[session]

    def tell(self, session: str, message: bytes, beside: Signing | None = None) -> None:
        """Send a message to the watchers of a session, except `beside`."""
        for watcher in tuple(self._watchers.get(session, ())):
            if watcher is not beside:
                watcher.send(message)

    def spelled(self, session: str, letters: Sequence[str]) -> bytes:
        return signs.message("sequence", {"session_id": session, "letters": list(letters)})

    def translate(
        self, taken: list[Taken], session: str, language: str, owner: str | None, client: Signing | None
    ) -> None:
        """Translate a committed sequence, for its client and for the watchers of the session."""
        task = asyncio.create_task(self._translate(taken, session, language, owner, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _translate(
        self, taken: list[Taken], session: str, language: str, owner: str | None, client: Signing | None
    ) -> None:
        letters = [one.sign for one in taken]
        seen = [dict(one.likely) for one in taken]
        try:
            found = await self.shared.translation.spelled(letters, seen, session, language=language, owner=owner)
        except RelayError as error:
            self.shared.metrics.signs_refused.labels(error.code).inc()
            if client is not None:
                client.send(problem(error.code, str(error)))
            return
        message = signs.message("translation", found.model_dump(exclude_none=True))
        if client is not None:
            client.send(message)
        self.tell(session, message, beside=client)


class Signing:
    """One signing client. `send` writes a message to it; everything runs on the event loop."""

    def __init__(self, service: SigningService, send: Callable[[bytes], None], owner: str | None) -> None:
        self._service = service
        self._shared = service.shared
        self.send = send
        self._owner = owner
        self._client = Client()
        self._session = ""
        self._language = "en"
        self._extras = False
        self._collects = True
        self._letters = LetterReader(self._shared.network)
        self._alphabet: Alphabet = "both"
        self._reader = SignReader(self._letters)
        self._spelling = Spelling()
        self._tick: asyncio.TimerHandle | None = None

    def message(self, data: bytes | str) -> None:
        """Handle any message of the client. Errors are answered; the socket stays open."""
        try:
            found = signs.decode_message(data)
            if found.type == "frame":
                self._frame(signs.decode_payload(found.payload, signs.Frame))
            elif found.type == "command":
                self._command(signs.decode_payload(found.payload, signs.Command))
            else:
                raise UnknownType(f"Expected a message of type frame or command, not {found.type!r}")
        except (ContractError, RelayError) as error:
            self._refuse(error)

    def gone(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        self._shared.lookout.leave(self._client)
        self._service.leave(self)

    # -- pictures --------------------------------------------------------------------------------------------------

    def _frame(self, frame: signs.Frame) -> None:
        if frame.session_id is not None and frame.session_id != self._session:
            self._begin(frame.session_id)
        came_ns = now_ns()

        def done(seen: Seen) -> None:
            self._shared.metrics.signs_seconds.observe((now_ns() - came_ns) / 1e9)
            self._seen(frame, seen, came_ns / 1e6)

        self._shared.lookout.offer(self._client, Look(lambda: decode(frame.image), came_ns, done))

    def _seen(self, frame: signs.Frame, seen: Seen, t_ms: float) -> None:
        if seen.problem is not None:
            self._refuse(seen.problem)
            return
        sight = self._read(seen, t_ms, mirrored=frame.mirrored)
        payload: dict[str, Any] = {
            "sign": sight.sign,
            "confidence": sight.confidence if seen.hand is not None else 0,
            "hand_detected": seen.hand is not None,
        }
        if seen.hand is not None:
            payload["landmarks"] = [[round(float(x), 5), round(float(y), 5)] for x, y, *_ in seen.hand.landmarks]
        payload["timestamp"] = frame.timestamp
        if self._collects:
            self._collect(sight)
        if self._extras:
            payload["sequence"] = [one.sign for one in self._spelling.letters]
            payload["alternatives"] = [{"sign": sign, "confidence": chance} for sign, chance in sight.likely]
            payload["right_hand"] = seen.hand is not None and (seen.hand.handedness == "Right") != frame.mirrored
            payload["aspect"] = round(seen.aspect, 4)
        self.send(signs.message("detection", payload))

    def _read(self, seen: Seen, t_ms: float, *, mirrored: bool) -> Sight:
        if seen.hand is None:
            return self._reader.nothing(t_ms)
        # A mirrored picture shows a right hand as a left one, which is how the detector calls it: no change of side.
        return self._reader.see(t_ms, seen.hand.landmarks, aspect=seen.aspect, right=seen.hand.handedness == "Right")

    def _collect(self, sight: Sight) -> None:
        taken = self._spelling.see(sight)
        if taken is not None:
            letters = [one.sign for one in self._spelling.letters]
            self._service.tell(self._session, self._service.spelled(self._session, letters), beside=self)
        if self._spelling.quiet(sight.t_ms):
            self._commit()
        elif self._tick is None and self._spelling.letters:
            self._wait()

    def _wait(self) -> None:
        self._tick = asyncio.get_running_loop().call_later((QUIET_MS + _TICK_MS) / 1000, self._ticked)

    def _ticked(self) -> None:
        """Check for the end of a sequence by the clock, in case no further picture arrives."""
        self._tick = None
        if self._spelling.quiet(now_ns() / 1e6):
            self._commit()
        elif self._spelling.letters:
            self._wait()

    def _commit(self) -> None:
        taken = self._spelling.commit()
        if taken:
            self._service.translate(taken, self._session or "unnamed", self._language, self._owner, self)

    # -- commands ----------------------------------------------------------------------------------------------------

    def _command(self, command: signs.Command) -> None:
        if command.action == "start":
            self._start(command)
        elif command.action == "watch":
            self._service.may_watch(command.session_id, self._owner)
            self._service.watch(self, command.session_id)
        else:
            self._end(command)
        self.send(signs.message("command", {"status": DONE[command.action], "session_id": command.session_id}))

    def _start(self, command: signs.Command) -> None:
        self._begin(command.session_id)
        self._language, self._alphabet, self._extras = command.language, command.alphabet, command.extras
        self._collects = True
        self._spelling = Spelling(digits=command.alphabet == "digits")
        self._read_with(LetterReader(self._shared.network))
        if command.calibration:
            asyncio.create_task(self._calibrate(command.calibration)).add_done_callback(_look_at_fault)

    def _end(self, command: signs.Command) -> None:
        if command.action == "clear":
            self._spelling.clear()
        else:
            self._commit()
            self._collects = False

    def _begin(self, session: str) -> None:
        """Switch to another session; what was spelled before still belongs to the previous one."""
        if self._session:
            self._commit()
        self._session, self._client.followed = session, None
        self._service.begun(session, self._owner)
        self._collects = True
        self._spelling.clear()

    async def _calibrate(self, name: str) -> None:
        try:
            self._read_with(await self._shared.calibrated(self._owner, name))
        except RelayError as error:
            self._refuse(error)

    def _read_with(self, letters: LetterReader) -> None:
        self._letters = letters
        self._reader = SignReader(letters, self._alphabet)

    def _refuse(self, error: ContractError | RelayError) -> None:
        self._shared.metrics.signs_refused.labels(error.code).inc()
        self.send(problem(error.code, str(error)))


def problem(code: str, text: str) -> bytes:
    """The document's error message for a socket."""
    return signs.message("error", {"message": text, "code": code})


def _look_at_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.error("calibration_failed", exc_info=fault)
