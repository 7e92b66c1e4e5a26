"""What brings a kit from one release to the next and, when that does not work out, back."""
