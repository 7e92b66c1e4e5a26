"""Making a machine a kit or a relay: users, folders, units and links, put in place and removed again."""
