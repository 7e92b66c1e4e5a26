"""Wire formats and mathematics. No I/O, no clock, no threads: bytes and times are passed in as arguments."""
