"""Fingerspelling on the kit: hands become letters and letters a sequence; only those leave the home.

A message of type `letters` is sent whenever a letter is taken and when a sequence is committed, and none otherwise. The
recogniser and its rules are the relay's own, so that both read alike.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import structlog

import core.fingerspelling
from agent.errors import CommandRefused
from agent.outbox import Outbox
from agent.vision.hands import Hand
from agent.wall_clock import WallClock
from core.contracts.signs import MAX_ID, KitLetter, KitLetters
from core.fingerspelling.letters import WEIGHTS_FILE, LetterReader, Network
from core.fingerspelling.reader import SignReader
from core.fingerspelling.sequence import BACKSPACE, QUIET_MS, Taken
from core.fingerspelling.sequence import Sequence as Letters

Language = Literal["en", "ru", "kz"]

log = structlog.get_logger(__name__)


class Spelling:
    """`begin` a session, then `take` every picture's hands. The letter model is loaded when first needed."""

    def __init__(self, outbox: Outbox, wall: WallClock, *, now_ms: Callable[[], int]) -> None:
        self.session: str | None = None
        self.letters = 0
        self.sequences = 0
        self._outbox, self._wall, self._now_ms = outbox, wall, now_ms
        self._language: Language = "en"
        self._reader: SignReader | None = None
        self._spelled = Letters()
        self._last_ms = 0.0
        self._quiet: asyncio.TimerHandle | None = None

    def begin(self, session: str, language: Language) -> None:
        """Letters belong to this session from now on."""
        self.end()
        if self._reader is None:
            weights = Path(core.fingerspelling.__path__[0]) / WEIGHTS_FILE
            self._reader = SignReader(LetterReader(Network.unpack(weights.read_bytes())))
        self.session, self._language = session, language
        self.letters = self.sequences = 0
        log.info("spelling_started", session=session)

    def end(self) -> None:
        """Commit what was spelled so far, and end the session."""
        self._commit()
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        self.session = None

    def take(self, hands: Sequence[Hand], captured_ns: int, aspect: float) -> None:
        """Take the hands in a picture captured at `captured_ns` (monotonic); `aspect` is its width over height."""
        if self.session is None or self._reader is None:
            return
        t_ms = captured_ns / 1e6
        self._last_ms = t_ms
        if hands:
            right = hands[0].handedness == "Right"
            sight = self._reader.see(t_ms, hands[0].landmarks, aspect=aspect, right=right)
        else:
            sight = self._reader.nothing(t_ms)
        taken = self._spelled.see(sight)
        if taken is not None:
            self._tell(taken)
        if self._spelled.quiet(t_ms):
            self._commit()

    def figures(self) -> dict[str, Any]:
        """Figures for status."""
        return {"session": self.session, "letters": self.letters, "sequences": self.sequences}

    def _tell(self, taken: Taken) -> None:
        self.letters += taken.sign != BACKSPACE
        self._put(KitLetters(session_id=self.session or "", letters=self._messages(self._spelled.letters)))
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = asyncio.get_running_loop().call_later(2 * QUIET_MS / 1000, self._silent)

    def _silent(self) -> None:
        """Called when pictures stop arriving: what was spelled is committed nevertheless."""
        self._quiet = None
        self._commit()

    def _commit(self) -> None:
        taken = self._spelled.commit()
        if taken and self.session is not None:
            self.sequences += 1
            whole = KitLetters(session_id=self.session, sequence=self._messages(taken), language=self._language)
            self._put(whole)

    def _messages(self, taken: Sequence[Taken]) -> list[KitLetter]:
        times = self._wall.epoch_ms(np.asarray([one.t_ms * 1e6 for one in taken], float))
        return [
            KitLetter(one.sign, one.confidence, round(float(t_ms)), list(one.likely))
            for one, t_ms in zip(taken, times, strict=True)
        ]

    def _put(self, letters: KitLetters) -> None:
        self._outbox.put("letters", msgspec.to_builtins(letters), letters.session_id, self._now_ms())


def session_of(args: dict[str, Any]) -> tuple[str, Language]:
    """The session and language named by a command; the session defaults to a new UUID."""
    session, language = args.get("session") or str(uuid.uuid4()), args.get("language", "en")
    if not isinstance(session, str) or len(session) > MAX_ID:
        raise CommandRefused(f"look: session is a text of up to {MAX_ID} characters")
    if language not in get_args(Language):
        raise CommandRefused(f"look: language is one of {', '.join(get_args(Language))}")
    return session, language
