"""Videos of sessions: one signed upload each, kept as files, played with ranges."""
