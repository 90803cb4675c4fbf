"""The grammar of each group of commands."""
