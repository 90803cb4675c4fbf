"""The hub's own recording: its last minutes on disk, for whoever asks afterwards what happened."""
