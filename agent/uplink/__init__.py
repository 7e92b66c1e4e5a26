"""MQTT: the live lane, the paced history lane, acknowledgements and commands down."""

from agent.uplink.uplink import Counts, Uplink

__all__ = ["Counts", "Uplink"]
