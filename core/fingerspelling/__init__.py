"""Fingerspelling: hand landmarks to letters, letters to a spelled sequence, the sequence to words, all offline."""
