"""colossus_tui.client"""
