"""The fleet: which kits there are, their condition, and the release and settings each should have."""
