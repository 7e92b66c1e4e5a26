"""Making releases: the contents of a bundle, its signature, and its list of parts."""
