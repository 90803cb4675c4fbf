"""The process that takes frames, holds the live state, carries out actions and serves consoles."""
