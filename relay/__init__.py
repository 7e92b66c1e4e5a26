"""The relay: takes what kits and phones measure, stores it, and shows it to the people who look."""
