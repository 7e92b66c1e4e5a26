"""Sensors over Bluetooth Low Energy: the radio, a link to one sensor, and the source that keeps it streaming."""
