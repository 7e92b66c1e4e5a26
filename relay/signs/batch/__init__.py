"""Recorded videos of signing: fetched or uploaded, read in the background, one job after the other."""
