"""Recorded videos of signing: fetched or uploaded, and read in the background one job at a time."""
