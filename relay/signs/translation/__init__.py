"""Spelled letters to sentences: a language model where there is a key, the offline speller always."""
