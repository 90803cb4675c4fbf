"""The `colossus` command."""
