"""The kit's side of operation: status, commands, remote settings, reports."""
