"""MQTT: the live lane, the paced backfill lane, acknowledgements and commands."""

from agent.uplink.uplink import Counts, Uplink

__all__ = ["Counts", "Uplink"]
