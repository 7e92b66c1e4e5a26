"""Pose frames: each one stored exactly once, with running statistics for its session."""
