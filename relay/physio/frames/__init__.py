"""Pose frames: taken in once each, counted, kept."""
