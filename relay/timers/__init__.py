"""SyncKairos: timers on one clock for everyone in the room (port 3000 at /v1 and /sessions, prefix /timers)."""
