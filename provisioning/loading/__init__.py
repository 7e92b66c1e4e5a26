"""Kits and viewers in any number, and what became of everything they sent: the parts of `homeside load`."""
