"""Construction of the retention service, for the relay and for the command."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from relay.process.metrics import Metrics
from relay.retention.rules import Policy
from relay.retention.service import Retention
from relay.retention.store import RetentionStore
from relay.settings import RelaySettings


def retention_of(
    settings: RelaySettings, engine: AsyncEngine, now_ms: Callable[[], float], metrics: Metrics | None = None
) -> Retention:
    chosen = settings.retention
    policy = Policy(chosen.remove_days, chosen.thin_days, chosen.thin_hz, chosen.spare_days)
    return Retention(RetentionStore(engine), policy, now_ms, metrics or Metrics())
