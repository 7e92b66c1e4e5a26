"""The house's laws as functions: a source tree in, findings out.

Each law takes the tree's root and returns a line for each breach, `path:line: what is wrong`.
tests/test_architecture.py holds the project to them, and shows each to find what it forbids
in a small tree made for the purpose.
"""
