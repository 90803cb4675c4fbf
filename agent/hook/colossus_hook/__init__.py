"""Training-loop hook."""
