"""This kit's identity: a key that never leaves it, and the certificate the relay issued for a claim."""
