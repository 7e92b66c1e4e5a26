"""Kits: their messages over any broker, the broker inside the relay, and the switchboard from it to the APIs."""
