"""Consent against everything else that goes on in a kit: commands that wait, restarts, the light, the trail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.operations.commands import MAX_WAITING, Commands
from agent.outbox import Outbox
from agent.privacy import Level
from agent.settings import AgentSettings
from agent.vision.app import Watch
from agent.wall_clock import WallClock

CLEAR = {"level": "clear", "minutes": 240, "by": "patient 7"}
SKELETON = {"level": "skeleton", "by": "patient 7"}


class Kit:
    """A kit's eyes and its commands, with one that takes as long as the test wants."""

    def __init__(self, folder: Path) -> None:
        settings = AgentSettings(state=folder, privacy={"led": folder}, source={"camera": {"device": "test"}})  # type: ignore[arg-type]
        self.folder = folder
        self.watch = Watch(settings, Outbox(folder / "outbox.db", 1 << 30, "a"), WallClock(0, 0))
        self.go_on = asyncio.Event()
        self.told: list[dict[str, Any]] = []
        self.commands = Commands([], self.watch, done=self._done, more={"slow": self._slow})

    @property
    def trail(self) -> list[tuple[str, str, str]]:
        lines = (self.folder / "privacy.log").read_text().splitlines()
        return [(one["from"], one["to"], one["by"]) for one in map(json.loads, lines)]

    @property
    def light(self) -> str:
        return (self.folder / "brightness").read_text()

    def _done(self) -> None:
        assert self.commands.last is not None
        self.told.append(self.commands.last)

    async def _slow(self, _: dict[str, Any]) -> dict[str, Any]:
        await self.go_on.wait()
        return {}


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    one = Kit(tmp_path)
    running = asyncio.create_task(one.commands.run())
    yield one
    running.cancel()


async def test_who_takes_consent_back_waits_for_no_other_command(kit: Kit) -> None:
    await kit.watch.privacy.command(CLEAR)
    for _ in range(2 * MAX_WAITING):
        kit.commands.take("slow", {})
    assert kit.commands.dropped > 0
    kit.commands.take("set_privacy", SKELETON)
    assert kit.watch.privacy.level is Level.SKELETON
    assert kit.told[-1]["privacy"]["level"] == "skeleton"
    assert kit.trail[-1] == ("clear", "skeleton", "patient 7")


async def test_what_waited_to_raise_it_is_withdrawn_with_it(kit: Kit) -> None:
    kit.commands.take("slow", {})
    kit.commands.take("set_privacy", CLEAR)
    kit.commands.take("set_privacy", SKELETON)
    kit.commands.take("set_privacy", {**CLEAR, "level": "blurred"})
    kit.go_on.set()
    async with asyncio.timeout(5):
        while len(kit.told) < 4:
            await asyncio.sleep(0.01)
    assert [one["ok"] for one in kit.told] == [True, True, False, True]
    assert "withdrawn" in kit.told[2]["message"]
    assert [to for _, to, _ in kit.trail] == ["skeleton", "blurred"], "never clear, and what came after holds"


async def watching(kit: Kit) -> None:
    """As long as the camera is filming."""
    async with asyncio.timeout(20):
        while not kit.watch.camera.frames:
            await asyncio.sleep(0.01)


async def test_consent_ends_with_the_agent_and_its_light_goes_out(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    running = asyncio.create_task(kit.watch.run())
    await watching(kit)
    await kit.watch.privacy.command(CLEAR)
    assert kit.light == "1"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert kit.light == "0"
    assert kit.trail[-1] == ("clear", "skeleton", "end of the agent")
    assert (tmp_path / "privacy.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [b"", b'{"at": "2026-01-01T00:00:00+00:00", "from": "blu'])
async def test_a_kit_that_was_killed_begins_dark_and_says_so(tmp_path: Path, torn: bytes) -> None:
    await Kit(tmp_path).watch.privacy.command(CLEAR)
    with (tmp_path / "privacy.log").open("ab") as trail:
        trail.write(torn)
    kit = Kit(tmp_path)
    assert kit.light == "1", "left by the one that was killed"
    running = asyncio.create_task(kit.watch.run())
    await watching(kit)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert kit.light == "0"
    last = (tmp_path / "privacy.log").read_text().splitlines()[-1]
    assert [json.loads(last)[key] for key in ("from", "to", "by")] == ["clear", "skeleton", "restart"]
