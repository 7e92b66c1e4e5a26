"""SD cards for kits: the files that make a Raspberry Pi a kit from its boot partition, and labels for the boxes."""
