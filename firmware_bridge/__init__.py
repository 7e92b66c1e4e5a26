"""Bytes of a sensor into meaning, and back. No port, no radio, no clock in here: bytes and times are arguments."""
