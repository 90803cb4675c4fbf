"""The Slurm backend: jobs seen as runs by one poller, every verb as Slurm's own commands."""
