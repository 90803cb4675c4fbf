"""Readers of what training frameworks print: progress of runs that have no hook."""
