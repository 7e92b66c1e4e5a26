"""Frames over a WebSocket: each client its own tracker, reader and sequence; the newest frame wins."""
