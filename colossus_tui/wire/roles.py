"""What a console says of itself beside its questions."""

from __future__ import annotations

# Begins the user agent of a console that asks for no more than to look: a hub takes it at its word.
LOOKS_ONLY = "colossus-looks-only"
