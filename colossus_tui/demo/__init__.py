"""Seven small, real training runs to try everything on, and what starts and ends them."""
