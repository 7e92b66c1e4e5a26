"""Converts the bytes of sensors into meaning and back. No port, radio or clock here: bytes and times are arguments."""
