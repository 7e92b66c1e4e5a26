"""Cards for kits: what a Raspberry Pi needs on its boot partition to become one, and labels for the boxes."""
