"""Making releases: what goes into a bundle, who signs it, and what it names of itself."""
