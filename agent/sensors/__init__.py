"""`homeside sensors`: find sensors in range, test them, watch and configure them, and update their firmware."""
