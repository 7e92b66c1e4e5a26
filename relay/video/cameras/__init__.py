"""The cameras: what they show now, and what was recorded of them."""
