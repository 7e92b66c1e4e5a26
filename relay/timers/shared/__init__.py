"""Timers that several relays answer for, on one PostgreSQL: compared and swapped by the revision of the row."""
