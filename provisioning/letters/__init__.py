"""Training of the letter model on a developer's machine, from recordings and synthetic hands to
weights and model card.
"""
