"""`python -m colossus_tui.hub`."""

import sys

from colossus_tui.hub.command import main

if __name__ == "__main__":
    sys.exit(main())
