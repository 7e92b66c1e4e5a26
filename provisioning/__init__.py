"""Setting up kits and demonstrating them: simulated sensor, demonstration, SD cards, installation, releases, updates,
load.

Nothing here is imported by the agent or the relay, and nothing here imports them: programs are started as processes.
"""
