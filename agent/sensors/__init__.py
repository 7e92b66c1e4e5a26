"""`homeside sensors`: what is in reach, whether one is sound, what it says now, how it is set, and its firmware."""
