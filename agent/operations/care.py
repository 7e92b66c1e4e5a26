"""Commands of the fleet's operators that do not concern measuring. No report contains samples, session ids or secrets.

configure {version, settings}    try these settings; kept when the relay sends `keep`, else rolled back keep {version}
confirms that the relay has heard from the kit with these settings diagnose {request}               a report on this
kit, sent like any other message list_packages {}                 what is installed, name to version update {version,
sha256, url}    leave a note for the updater, a separate program with other rights
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import msgspec
import structlog

from agent.errors import AgentError, CommandRefused
from agent.files import write_whole
from agent.operations import machine
from agent.operations.commands import Arguments, Handler
from agent.operations.configuration import Configuration, nested
from agent.outbox import Outbox
from agent.settings import AgentSettings
from core.contracts.fleet import Certified, Updated
from core.contracts.release import parse_version

PRIVATE = frozenset({"session", "sessions", "patient", "password"})
_WHO, _QUERY = re.compile(r"(?<=://)[^/?#\s]*@"), re.compile(r"(://[^\s?]*)\?\S*")
"""The addresses of brokers and cameras can contain a user and password."""
Report = Callable[[], Awaitable[dict[str, Any]]]
log = structlog.get_logger(__name__)


class Care:
    """`check` raises for settings that cannot be used; `restart` restarts the agent with those now in effect."""

    def __init__(
        self,
        settings: AgentSettings,
        outbox: Outbox,
        configuration: Configuration,
        *,
        check: Callable[[dict[str, Any]], None],
        restart: Callable[[], None],
        report: Report,
        certificate: Callable[[], Certified | None],
    ) -> None:
        self._settings, self._outbox, self._configuration = settings, outbox, configuration
        self._check, self._restart, self._report = check, restart, report
        self._certificate = certificate
        self._health: dict[str, Any] = {}
        self.commands: dict[str, Handler] = {
            "configure": self._configure,
            "keep": self._keep,
            "diagnose": self._diagnose,
            "list_packages": self._list_packages,
            "update": self._update,
        }

    def tell_health(self, version: str, *, connected: bool, measuring: bool) -> None:
        """Write health.json, whenever it changes, for the updater: it keeps a release only if this is no worse than
        before.
        """
        health = {"version": version, "boot": self._outbox.boot, "connected": connected, "measuring": measuring}
        if health != self._health:
            try:
                write_whole(self._settings.state / "health.json", msgspec.json.encode(health), 0o644)
            except OSError as error:
                log.warning("health_not_written", reason=str(error))
            else:
                self._health = health

    def status(self) -> dict[str, Any]:
        """The part of status that does not concern measuring."""
        return {
            "machine": machine.figures(self._settings.state),
            "packages": machine.packages()[0],
            "configuration": self._configuration.told,
            "update": self._updated(),
            "certificate": self._certificate(),
        }

    async def run(self) -> None:
        """Roll back a trial of settings that the relay does not confirm in time; returns at once when there is none."""
        if not self._configuration.trying:
            return
        await asyncio.sleep(self._settings.trial_s)
        if self._configuration.trying:
            self._configuration.roll_back(f"the relay did not answer within {self._settings.trial_s:g} s")
            self._restart()

    async def _configure(self, args: Arguments) -> dict[str, Any]:
        version, settings = args.get("version"), args.get("settings")
        if not isinstance(version, int) or isinstance(version, bool) or not isinstance(settings, dict):
            raise CommandRefused("configure: version is a whole number, settings an object")
        told = self._configuration.told
        if told is not None and version <= told.version:
            return {"version": told.version, "state": told.state}
        try:
            self._check(nested(settings))
        except AgentError as error:
            self._configuration.refuse(version, str(error)[:300])
            raise CommandRefused(f"configure: {error}") from None
        try:
            self._configuration.offer(version, settings)
        except OSError as error:
            raise CommandRefused(f"configure: the settings cannot be written: {error.strerror}") from None
        self._restart()
        return {"version": version}

    async def _keep(self, args: Arguments) -> dict[str, Any]:
        told = self._configuration.told
        if self._configuration.trying and told is not None and args.get("version") == told.version:
            try:
                self._configuration.confirm()
            except OSError as error:
                raise CommandRefused(f"keep: the settings cannot be written: {error.strerror}") from None
        return {"version": told.version if told is not None else 0}

    async def _diagnose(self, args: Arguments) -> dict[str, Any]:
        request = str(args.get("request", ""))[:64]
        self._send("diagnostics", {"request": request, "report": without_private(await self._report())})
        return {"request": request}

    async def _list_packages(self, _args: Arguments) -> dict[str, Any]:
        digest, packages = machine.packages()
        self._send("packages", {"digest": digest, "packages": packages})
        return {"packages": len(packages)}

    async def _update(self, args: Arguments) -> dict[str, Any]:
        """Note for the updater where to look. It trusts nothing else in the note: the bundle's own signature
        decides.
        """
        version, url = str(args.get("version", "")), str(args.get("url", ""))
        try:
            parse_version(version)
        except ValueError as error:
            raise CommandRefused(f"update: {error}") from None
        relay = self._settings.update.relay or self._settings.identity.relay
        whole = urljoin(relay, url) if relay else url
        note = {"version": version, "sha256": str(args.get("sha256", "")), "url": whole}
        try:
            write_whole(self._wanted(), msgspec.json.encode(note))
        except OSError as error:
            raise CommandRefused(f"update: the note cannot be written: {error.strerror}") from None
        return {"version": version}

    def _wanted(self) -> Path:
        return self._settings.update.wanted or self._settings.state / "update.json"

    def _updated(self) -> Updated | None:
        if self._settings.update.outcome is None:
            return None
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._settings.update.outcome.read_bytes(), type=Updated)
        return None

    def _send(self, kind: str, payload: dict[str, Any]) -> None:
        """Put an answer into the outbox; not `kept`, because an answer can be requested again and must not displace
        samples.
        """
        self._outbox.put(kind, payload, "", time.time_ns() // 1_000_000)


def without_private(value: Any) -> Any:
    """A copy without anything that could identify a person or give access, at any depth.

    Values under keys in PRIVATE are replaced; addresses lose user, password and query.
    """
    if isinstance(value, dict):
        return {key: "(left out)" if key in PRIVATE else without_private(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_private(one) for one in value]
    return _QUERY.sub(r"\1", _WHO.sub("", value)) if isinstance(value, str) else value
