"""See every training run of a site in one terminal, and act on it."""

__version__ = "0.1.0"
