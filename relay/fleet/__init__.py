"""The fleet: which kits there are, how each is, what it is to run and by which settings."""
