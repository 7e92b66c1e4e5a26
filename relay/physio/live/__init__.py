"""Exercise sessions that a kit's camera sees: assigned, streamed in as frames, shown to whoever may look."""
