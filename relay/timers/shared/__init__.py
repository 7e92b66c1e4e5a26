"""Timers that several relays answer for, on one PostgreSQL: a write succeeds only on the revision it was made from."""
