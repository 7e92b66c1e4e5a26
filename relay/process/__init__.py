"""What keeps a relay well: its log, figures, signs of life, tasks and memory."""
