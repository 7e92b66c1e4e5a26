"""A kit as its operator meets it: status, commands, settings from afar, reports."""
