"""Colossus node agent."""

VERSION = "0.1.0"  # as the distribution's; reading its metadata would cost 3 MiB of memory
