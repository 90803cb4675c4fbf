"""A recording served as if it were a hub: consoles, the command line and scripts work on it."""
