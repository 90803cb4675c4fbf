"""The run model: what the hub knows of each run, from what agents and hooks report."""
