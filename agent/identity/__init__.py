"""This kit's identity: a key that never leaves it, and the certificate the relay gave for a claim."""
