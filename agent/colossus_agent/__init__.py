"""Colossus node agent."""
