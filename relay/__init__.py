"""The relay: takes in what kits and phones measure, stores it, and shows it to the people who watch."""
