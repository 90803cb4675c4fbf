"""One console for one browser; the page's server starts it."""

from __future__ import annotations

import argparse
import sys

from colossus_tui.tui.app import run_console


def main() -> int:
    """Show the console to whoever started this process."""
    parser = argparse.ArgumentParser(prog="colossus_tui.web.console")
    parser.add_argument("--hub", required=True)
    parser.add_argument("--theme")
    parser.add_argument("--operator", action="store_true")
    arguments = parser.parse_args()
    return run_console(arguments.hub, theme=arguments.theme, looks_only=not arguments.operator)


if __name__ == "__main__":
    sys.exit(main())
