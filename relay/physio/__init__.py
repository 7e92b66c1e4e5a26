"""Physiotherapy: sessions, pose frames, reviews, and who may see them (port 3000, prefix /physio)."""
