"""Sensors: each module makes the calls for one source; `sensing` carries them out."""
