"""Settings that an operator gave this kit remotely: tried first, kept once the relay is reached with them, else rolled
back.

Every step is written to disk before it is taken, so a power cut leaves either the old settings or the new ones. Starts
of a trial are counted in advance: after two starts without confirmation, the third rolls back, whatever restarted the
agent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import structlog

from agent.errors import SettingsError
from agent.files import write_whole
from core.contracts.fleet import ConfigurationState, Configured

FILE = "configuration.json"
BEGINNINGS = 2
OURS = ("kit", "state", "trial_s", "update", "identity", "privacy")
"""Settings that cannot be changed remotely: the kit's name, its state folder, whom it trusts for updates, and the light
that shows people at home when pictures leave. Passwords cannot either."""

Settings = dict[str, Any]
log = structlog.get_logger(__name__)


class Trial(msgspec.Struct):
    version: int
    settings: Settings
    beginnings: int = 0


class Kept(msgspec.Struct, omit_defaults=True):
    """`settings` are in effect unless there is a `trial`; `told` is the state of the newest, as reported in status."""

    settings: Settings = {}
    trial: Trial | None = None
    told: Configured | None = None


class Configuration:
    """The file with a kit's remote settings. Call `begin` once at each start."""

    def __init__(self, state: Path) -> None:
        self.trying = False
        """Whether this run is itself a trial; settings just taken are tried from the next start on."""
        self._path = state / FILE
        self._kept = self._read()

    @property
    def told(self) -> Configured | None:
        return self._kept.told

    def begin(self) -> Settings:
        """The settings to start with, nested as in the settings file. Counts a start of the trial, if there is one."""
        kept, trial = self._kept, self._kept.trial
        if trial is None:
            return nested(kept.settings)
        if trial.beginnings >= BEGINNINGS:
            self.roll_back("the agent did not stay up with them")
            return nested(kept.settings)
        begun = Trial(trial.version, trial.settings, trial.beginnings + 1)
        try:
            self._keep(Kept(kept.settings, begun, Configured(trial.version, ConfigurationState.TRYING)))
        except OSError as error:
            log.error("configuration_not_tried", version=trial.version, reason=str(error))
            return nested(kept.settings)
        self.trying = True
        return nested(trial.settings)

    def offer(self, version: int, settings: Settings) -> bool:
        """Store settings, already checked by the caller, for a trial at the next start;

        False when this version is known.
        """
        if self._kept.told is not None and version <= self._kept.told.version:
            return False
        self._keep(Kept(self._kept.settings, Trial(version, settings), Configured(version, ConfigurationState.TAKEN)))
        return True

    def refuse(self, version: int, problem: str) -> None:
        """Record settings that were refused without a trial."""
        self._keep_anyhow(
            Kept(self._kept.settings, self._kept.trial, Configured(version, ConfigurationState.REFUSED, problem))
        )
        log.warning("configuration_refused", version=version, reason=problem)

    def confirm(self) -> None:
        """The trial worked: its settings become those that a later trial would roll back to."""
        trial = self._kept.trial
        assert trial is not None
        self._keep(Kept(trial.settings, None, Configured(trial.version, ConfigurationState.APPLIED)))
        self.trying = False
        log.info("configuration_applied", version=trial.version)

    def roll_back(self, problem: str) -> None:
        """Return to the previous settings. If the disk refuses, the next start finds the trial again and keeps
        counting.
        """
        trial = self._kept.trial
        assert trial is not None
        self.trying = False
        told = Configured(trial.version, ConfigurationState.ROLLED_BACK, problem)
        self._keep_anyhow(Kept(self._kept.settings, None, told))
        log.error("configuration_rolled_back", version=trial.version, reason=problem)

    def _read(self) -> Kept:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return Kept()
        except (OSError, msgspec.MsgspecError) as error:
            log.error("configuration_unreadable", file=str(self._path), reason=str(error))
            return Kept()

    def _keep(self, kept: Kept) -> None:
        """Write the file. An OSError is passed on to the caller, who must then refuse the change."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(self._path, msgspec.json.encode(kept))
        self._kept = kept

    def _keep_anyhow(self, kept: Kept) -> None:
        self._kept = kept
        try:
            self._keep(kept)
        except OSError as error:
            log.error("configuration_not_written", reason=str(error))


def nested(settings: Settings) -> Settings:
    """`{"source.serial.rate_hz": 200}` as `{"source": {"serial": {"rate_hz": 200}}}`.

    Raises SettingsError for keys that contradict each other or may not be set remotely.
    """
    whole: Settings = {}
    for key, value in settings.items():
        *path, last = key.split(".")
        if key.split(".")[0] in OURS or last == "password":
            raise SettingsError(f"{key}: is not set from afar")
        place = whole
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise SettingsError(f"{key}: {part} is a value and a section at once")
        place[last] = value
    return whole
