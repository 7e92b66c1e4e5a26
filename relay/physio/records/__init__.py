"""All that is kept of one patient: given to them whole, and erased whole."""
