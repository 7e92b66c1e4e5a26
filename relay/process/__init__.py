"""What keeps the relay's process well: logs, metrics, watchdog, supervised tasks, traces and memory."""
