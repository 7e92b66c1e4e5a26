"""A kit without sensors: its outbox and its uplink, wired as the app wires them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.outbox import Outbox
from agent.sections import Broker
from agent.uplink import Uplink

SESSION = "5f0d2f6e-0f5c-4a77-8d1c-61a1b6b7a111"


class Kit:
    """Outbox and uplink as the app wires them."""

    def __init__(self, url: str, folder: Path, boot: str = "b1", **broker: Any) -> None:
        self.outbox = Outbox(folder / "outbox.db", 1 << 30, boot)
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.uplink = Uplink(
            Broker(url=url, **broker),
            "bed-7",
            self.outbox,
            status=lambda state: json.dumps({"type": "status", "payload": {"state": state}}).encode(),
            command=lambda name, args: self.commands.append((name, args)),
        )

    def put(self, n: int = 1) -> None:
        now = int(time.time() * 1000)
        for _ in range(n):
            self.outbox.put("samples_batch", {"samples": [{"t": now, "az": 1.5}] * 10}, SESSION, now)


@asynccontextmanager
async def running(kit: Kit) -> AsyncIterator[Kit]:
    await kit.outbox.open()
    tasks = [asyncio.create_task(kit.uplink.run()), asyncio.create_task(kit.outbox.keep())]
    try:
        yield kit
    finally:
        kit.uplink.stop()
        async with asyncio.timeout(5):
            await tasks[0]
        tasks[1].cancel()
        await kit.outbox.close()
