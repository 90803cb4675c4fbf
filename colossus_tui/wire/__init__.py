"""colossus_tui.wire"""
