"""colossus_tui.demo"""
