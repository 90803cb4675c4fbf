"""Shedding power: settings, the planner, carrying a plan out, and undoing it."""
