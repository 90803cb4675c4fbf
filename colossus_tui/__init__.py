"""Colossus hub, client, CLI and console."""
