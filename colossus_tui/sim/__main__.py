"""`python -m colossus_tui.sim`: carries a simulated site to a hub."""

from __future__ import annotations

import sys

from colossus_tui.sim.command import main

sys.exit(main())
