"""colossus_tui.hub"""
