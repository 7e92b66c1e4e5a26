"""Identities of kits: claims, certificates, their renewal and revocation."""
