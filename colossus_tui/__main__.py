"""`colossus`, also as `python -m colossus_tui`."""

import sys


def main() -> int:
    """Run the command line."""
    from colossus_tui.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
