"""The parts of `homeside load`: simulated kits and viewers in any number, and the check of what became
of their data.
"""
