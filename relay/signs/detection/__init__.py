"""Frames over a WebSocket: each client has its own tracker, reader and sequence; only its newest frame waits."""
