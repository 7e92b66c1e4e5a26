"""Wire formats and mathematics. No I/O, no clock, no threads: bytes and time come in as arguments."""
