"""Runs that a Kubernetes owns: Jobs and JobSets, with or without Kueue."""
