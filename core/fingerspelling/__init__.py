"""Fingerspelling: from hand landmarks to letters, to a spelled sequence, to words; all offline."""
