"""Sessions over restarts: each belongs to the sensor that was recorded, whatever the settings say next time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.app import Agent
from agent.settings import AgentSettings


async def started(state: Path, *devices: str) -> tuple[dict[str, str | None], list[dict[str, Any]], Agent]:
    """An agent with these sensors, none of them in reach: sessions by sensor, what it has to say, and itself."""
    source = {"ble": [{"device": device} for device in devices]}
    agent = Agent(AgentSettings(state=state, source=source))  # type: ignore[arg-type]
    await agent._outbox.open()
    agent._take_up_sessions()
    said = []
    while (message := agent._outbox.next_live()) is not None:
        said.append(json.loads(message.body))
    return {channel.source.name: channel.recorder.session for channel in agent._channels}, said, agent


async def test_a_session_is_gone_on_with_by_its_own_sensor_alone(tmp_path: Path) -> None:
    """Two patients, one kit: a sensor entered before another's must not be heard in that one's session."""
    _, _, agent = await started(tmp_path, "anna", "bert")
    begun = {channel.source.name: channel.recorder.begin() for channel in agent._channels}
    await agent._outbox.close()

    found, said, agent = await started(tmp_path, "bert", "anna")
    assert found == begun
    assert said == []
    await agent._outbox.close()

    found, said, agent = await started(tmp_path, "carl", "bert")
    assert found == {"ble carl": None, "ble bert": begun["ble bert"]}
    assert [(one["type"], one["session"]) for one in said] == [("session_ended", begun["ble anna"])]
    await agent._outbox.close()

    found, said, agent = await started(tmp_path, "anna", "bert")
    assert found == {"ble anna": None, "ble bert": begun["ble bert"]}, "what was ended stays so"
    assert said == []
    await agent._outbox.close()
