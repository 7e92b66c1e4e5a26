"""What keeps the agent running: logs, signs of life, and restarting of failed tasks."""
