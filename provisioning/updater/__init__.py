"""Updates a kit from one release to the next and, if that fails, back."""
