"""The switchboard: a fault at one kit's message is that message's alone."""

from __future__ import annotations

from typing import Any

from core.contracts import scg
from core.contracts.topics import Lane
from relay.bus.mqtt import Address, MqttBus
from relay.bus.switchboard import KitSender, Switchboard
from relay.process.metrics import Metrics


def _message(seq: int) -> bytes:
    return scg.message("letters", {"n": seq}, boot="b1", seq=seq)


async def test_a_fault_harms_no_other_kit() -> None:
    metrics, taken = Metrics(), list[tuple[str, int | None]]()
    board = Switchboard(MqttBus(Address("127.0.0.1", 1), metrics), metrics)

    async def trips_over_seven(sender: KitSender, envelope: scg.Envelope, *, present: bool) -> None:
        10 // (7 - (envelope.seq or 0))
        taken.append((sender.name, envelope.seq))

    def trips(kit: str, payload: dict[str, Any], online: bool) -> None:
        raise ZeroDivisionError

    board.answer(["letters"], trips_over_seven)
    board.listen_status(trips)
    for kit, seq in (("a", 6), ("a", 7), ("b", 8)):
        await board.receive(kit, Lane.LIVE, _message(seq))
    await board.receive("a", Lane.STATUS, scg.message("status", {"state": "offline"}))
    await board.receive("b", Lane.LIVE, _message(9))
    assert taken == [("a", 6), ("b", 8), ("b", 9)]
    assert metrics.registry.get_sample_value("homeside_faults_total", {"of": "kit_message"}) == 2
