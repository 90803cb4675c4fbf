"""Runs that this node started: their records, their keeper, and the agent's view of them."""
