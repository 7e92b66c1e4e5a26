"""Updates from one release to the next, step by step. Each step is recorded on disk before it begins, and can be
repeated.

So after a power cut the next start continues with the recorded step, or goes back. The running release is changed by
switching one link, and the new one is kept only if the kit works as well as before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.contracts.bundle import read_manifest
from core.contracts.errors import ContractError
from core.contracts.fleet import Updated, UpdateState
from core.contracts.release import Manifest, newer
from provisioning.durable import remove, write_whole
from provisioning.errors import Unreachable, UpdateRefused
from provisioning.updater.slots import Slots

BEGINNINGS = 2
"""How often a trial may start: a release that brings the machine down twice is not tried a third time."""
ROOM = 3
"""Space needed, as a multiple of the bundle's size: the bundle, its parts, and the environment made from them."""

log = structlog.get_logger(__name__)


class Step(StrEnum):
    FETCH = "fetch"
    UNPACK = "unpack"
    TURN = "turn"
    TRY = "try"
    UNDO = "undo"


BEFORE_TURNING = (Step.FETCH, Step.UNPACK)
"""Steps that leave the running release untouched and may end in a refusal. After them a release is either kept or
rolled back."""


class Health(msgspec.Struct, frozen=True):
    """What an agent reports about itself in its health file."""

    version: str = ""
    boot: str = ""
    connected: bool = False
    measuring: bool = False


class Note(msgspec.Struct):
    """The update wanted by the relay, as the agent left it.

    It only says where to look: the bundle's signature decides.
    """

    version: str
    sha256: str
    url: str = ""


class Journal(msgspec.Struct):
    note: Note
    step: Step
    slot: str = ""
    before: str = ""
    health: Health = Health()
    beginnings: int = 0
    problem: str = ""


class Updater:
    """`fetch` gets a bundle, `restart` restarts the agent, `health` reads its health file;

    `reached` is called with each step.
    """

    def __init__(
        self,
        slots: Slots,
        folder: Path,
        *,
        keys: Callable[[], list[Ed25519PublicKey]],
        platform: tuple[str, str],
        fetch: Callable[[Note, Path], None],
        restart: Callable[[], None],
        health: Callable[[], Health],
        healthy_within_s: float,
        room: Callable[[], int],
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._slots, self._folder = slots, folder
        self._keys, self._platform, self._fetch = keys, platform, fetch
        self._restart, self._health, self._healthy_within_s = restart, health, healthy_within_s
        self._room, self._reached = room, reached
        self._journal_path, self._outcome_path = folder / "journal.json", folder / "outcome.json"
        self._bundle = folder / "bundle.tar"
        self._steps: dict[Step, Callable[[Journal], None]] = {
            Step.FETCH: self._do_fetch,
            Step.UNPACK: self._do_unpack,
            Step.TURN: self._do_turn,
            Step.TRY: self._do_try,
            Step.UNDO: self._do_undo,
        }

    def run(self, note: Note | None) -> Updated | None:
        """Continue an update in progress, else start the one in the note; returns the outcome, or None when there was
        nothing to do.

        Unreachable when the bundle cannot be fetched now; OSError when the disk fails after the link was switched. The
        next run continues.
        """
        journal = self._read(self._journal_path, Journal)
        if journal is None:
            if note is None or not self._is_news(note):
                return None
            journal = Journal(note, Step.FETCH)
            self._write(journal)
        elif journal.step is Step.TRY:
            self._begin_again(journal)
        while (found := self._read(self._journal_path, Journal)) is not None:
            try:
                self._steps[found.step](found)
            except UpdateRefused as error:
                self._finish(found, UpdateState.REFUSED, str(error))
            except OSError as error:
                if found.step not in BEFORE_TURNING:
                    raise
                self._finish(found, UpdateState.REFUSED, f"the disk does not take it: {error.strerror}")
        told: Updated | None = self._read(self._outcome_path, Updated)
        return told

    def _is_news(self, note: Note) -> bool:
        told = self._read(self._outcome_path, Updated)
        if told is not None and told.version == note.version:
            return False
        return newer(note.version, self._slots.version(self._slots.where()))

    def _do_fetch(self, journal: Journal) -> None:
        self._tell(journal, UpdateState.FETCHING)
        try:
            self._fetch(journal.note, self._bundle)
        except Unreachable as error:
            self._tell(journal, UpdateState.FETCHING, str(error))
            raise
        self._reached("fetched")
        self._check(journal.note)
        self._next(journal, Step.UNPACK)

    def _check(self, note: Note) -> None:
        """Check the bundle: signed, for this machine, the announced version, newer than what runs, and enough room."""
        try:
            with self._bundle.open("rb") as stream:
                manifest = read_manifest(stream, self._keys())
        except ContractError as error:
            raise UpdateRefused(str(error)) from None
        python, machine = self._platform
        if manifest.python not in ("", python) or manifest.machine not in ("", machine):
            raise UpdateRefused(f"it is for {manifest.python} on {manifest.machine}, not for {python} on {machine}")
        runs = self._slots.version(self._slots.where())
        if manifest.version != note.version or not newer(manifest.version, runs):
            raise UpdateRefused(f"the bundle holds {manifest.version}, no step from {runs} to {note.version}")
        self._check_room(manifest)

    def _check_room(self, manifest: Manifest) -> None:
        free = self._room()
        if free < ROOM * manifest.size:
            raise UpdateRefused(f"the disk is full: {ROOM * manifest.size >> 20} MiB are needed, {free >> 20} are free")

    def _do_unpack(self, journal: Journal) -> None:
        self._tell(journal, UpdateState.UNPACKING)
        slot, before = self._slots.spare(), self._slots.where()
        self._reached("unpacking")
        self._slots.fill(slot, self._bundle, self._keys())
        self._reached("unpacked")
        journal.slot, journal.before, journal.health = slot, before, self._health()
        self._next(journal, Step.TURN)

    def _do_turn(self, journal: Journal) -> None:
        self._tell(journal, UpdateState.TRYING)
        self._slots.turn(journal.slot)
        self._reached("turned")
        journal.beginnings = 1
        self._next(journal, Step.TRY)

    def _do_try(self, journal: Journal) -> None:
        problem = self._trial(journal)
        self._reached("tried")
        if problem:
            journal.problem = problem
            self._next(journal, Step.UNDO)
            return
        self._slots.trust(journal.slot)
        self._reached("trusted")
        self._finish(journal, UpdateState.DONE)

    def _trial(self, journal: Journal) -> str:
        """Restart the agent and wait until it works as well as before; returns the problem if it does not."""
        before = self._health()
        try:
            self._restart()
        except OSError as error:
            return f"it does not start: {error}"
        self._reached("restarted")
        deadline = time.monotonic() + self._healthy_within_s
        while True:
            problem = _worse(self._health(), journal, before)
            if not problem or time.monotonic() > deadline:
                return problem
            time.sleep(0.1)

    def _begin_again(self, journal: Journal) -> None:
        """The machine went down during a trial, which may have been chance the first time: count it, or roll back."""
        journal.beginnings += 1
        if journal.beginnings > BEGINNINGS:
            journal.step, journal.problem = Step.UNDO, "the machine went down while it was tried"
        self._write(journal)

    def _do_undo(self, journal: Journal) -> None:
        self._slots.turn(journal.before)
        self._reached("turned back")
        try:
            self._restart()
        except OSError as error:
            log.error("restart_failed", reason=str(error))
        self._reached("restarted the old")
        self._finish(journal, UpdateState.ROLLED_BACK, journal.problem)

    def _finish(self, journal: Journal, state: UpdateState, problem: str = "") -> None:
        """Record the outcome before anything else: after a power cut, the journal leads to the same outcome again."""
        self._tell(journal, state, problem)
        self._reached("told")
        remove(self._journal_path)
        self._reached("finished")
        remove(self._bundle)
        remove(self._bundle.with_suffix(".part"))
        log.info("update_finished", version=journal.note.version, state=state.value, reason=problem)

    def _next(self, journal: Journal, step: Step) -> None:
        journal.step = step
        self._write(journal)
        self._reached(f"to {step.value}")

    def _tell(self, journal: Journal, state: UpdateState, problem: str = "") -> None:
        told = Updated(journal.note.version, state, problem[:300])
        write_whole(self._outcome_path, msgspec.json.encode(told))

    def _write(self, journal: Journal) -> None:
        write_whole(self._journal_path, msgspec.json.encode(journal))

    def _read(self, path: Path, kind: Any) -> Any:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            log.error("file_unreadable", file=str(path), reason=str(error))
            return None


def _worse(now: Health, journal: Journal, before: Health) -> str:
    """Why the agent works less well than before; empty when it does not."""
    if now.boot == before.boot or not now.boot:
        return "its agent did not come up"
    if now.version != journal.note.version:
        return f"its agent calls itself {now.version or 'nothing'}"
    if journal.health.connected and not now.connected:
        return "its agent does not reach the broker, which the old one did"
    if journal.health.measuring and not now.measuring:
        return "its agent gets no samples, which the old one did"
    return ""
