"""Training of the letter model, on a developer's machine: recordings and synthetic hands in, weights and model card
out.
"""
