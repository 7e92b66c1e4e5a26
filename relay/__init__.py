"""The relay: receives what kits and phones measure, stores it, and shows it to those who may see it."""
