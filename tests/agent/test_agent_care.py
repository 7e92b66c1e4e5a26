"""What an operator may ask of a kit from afar neither opens a door nor costs a sample."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from agent.operations.care import Care
from agent.operations.configuration import Configuration
from agent.outbox import Outbox
from agent.settings import AgentSettings

SESSION = "0b0c7a52-6d0e-4b59-9f5c-2f6f3f1a9d11"
QUOTA = 1 << 20


def care(settings: AgentSettings, outbox: Outbox, report: dict[str, Any]) -> Care:
    async def reported() -> dict[str, Any]:
        return report

    return Care(
        settings,
        outbox,
        Configuration(settings.state),
        check=lambda _: None,
        restart=lambda: None,
        report=reported,
        certificate=lambda: None,
    )


async def test_no_report_tells_a_password_that_stands_in_an_address(tmp_path: Path) -> None:
    settings = AgentSettings(
        state=tmp_path,
        broker={"url": "mqtts://kit-7:s3cret@relay.example.org:8883"},  # type: ignore[arg-type]
        source={"camera": {"device": "rtsp://admin:s3c@ret@10.0.0.9:554/live?key=s3cret&x=1"}},  # type: ignore[arg-type]
    )
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await outbox.open()
    events = [{"event": "trouble", "reason": "http://u:s3cret@cam/a?k=s3cret does not answer"}]
    kit = care(settings, outbox, {"settings": settings.model_dump(mode="json"), "events": events})
    await kit.commands["diagnose"]({"request": "r"})
    sent = outbox.next_live()
    assert sent is not None
    assert b"s3c" not in sent.body
    report = json.loads(sent.body)["payload"]["report"]
    assert report["settings"]["broker"]["url"] == "mqtts://relay.example.org:8883"
    assert report["settings"]["source"]["camera"]["device"] == "rtsp://10.0.0.9:554/live"
    assert report["events"][0]["reason"] == "http://cam/a does not answer"
    await outbox.close()


async def test_reports_that_nobody_takes_do_not_push_out_samples(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await outbox.open()
    noise = random.Random(1).randbytes(30_000).hex()
    kit = care(AgentSettings(state=tmp_path), outbox, {"noise": noise})
    for _ in range(100):
        await kit.commands["diagnose"]({"request": "again"})
        await outbox.commit()
    outbox.put("samples_batch", {"x": 1}, SESSION, 1)
    await outbox.commit()
    assert outbox.figures.bytes <= QUOTA
    assert outbox.figures.dropped > 50, "the reports, oldest first"
    await outbox.refill(1000)
    kinds = []
    while (message := outbox.next_due()) is not None:
        kinds.append(json.loads(message.body)["type"])
    assert kinds[-1] == "samples_batch"
    await outbox.close()
