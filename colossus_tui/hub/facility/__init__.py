"""What the building's own sensors say: power of feeds, cooling loops, leaks."""
