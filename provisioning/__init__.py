"""What sets kits up and shows them off: the simulated sensor, the demonstration, later identities and images.

Nothing here is imported by the agent or the relay, and nothing here imports them: programs are started, not called.
"""
