"""What keeps an agent well: its log, signs of life, and tasks that are started again."""
