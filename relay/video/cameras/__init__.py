"""What the cameras show now, and what was recorded of them."""
