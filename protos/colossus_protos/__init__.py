"""Contracts shared by agent, hub and consoles (generated code lives in v1)."""
