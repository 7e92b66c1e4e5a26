"""Kits: their lanes over any broker, the broker inside the relay, and the switchboard behind both."""
