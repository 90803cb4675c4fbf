"""colossus_tui.model"""
