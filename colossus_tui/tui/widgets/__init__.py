"""What draws: lines and a table; both repaint only what has changed."""
