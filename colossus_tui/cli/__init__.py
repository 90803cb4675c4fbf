"""colossus_tui.cli"""
