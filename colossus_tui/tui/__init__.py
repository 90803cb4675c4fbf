"""colossus_tui.tui"""
