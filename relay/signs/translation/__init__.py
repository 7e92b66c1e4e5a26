"""Spelled letters to sentences: a language model if there is a key for it, and always the offline speller."""
