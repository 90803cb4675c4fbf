"""What touches processes: identity, signals, freezing, priority, control groups."""
