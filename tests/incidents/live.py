"""A hub with settings of alerts, and a simulated site that is linked to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from colossus_tui.client import Client
from colossus_tui.model import Incident
from colossus_tui.sim.plan import SitePlan, plan_site
from tests.e2e.product import Product
from tests.support import until

NODES = 400
PLAN: SitePlan = plan_site(NODES)
# As by default, but for times that a test can wait for.
QUICK = """
[alerts]
grace = 3

[alerts."node.lost"]
after = 16
clear = 6

[alerts."run.straggler"]
after = 3
clear = 5
"""


class Site:
    """Real processes: a hub and a simulator."""

    def __init__(self, folder: Path, settings: str = QUICK) -> None:
        self.product = Product(folder)
        self._folder = folder
        self._simulator: subprocess.Popen[bytes] | None = None
        (folder / "hub.toml").write_text(settings)

    def start_hub(self) -> None:
        """Start the hub, or start it again."""
        self.product.start_hub("--config", str(self._folder / "hub.toml"))

    def start(self, scenario: str = "") -> None:
        """Start both and wait until every node reports."""
        self.start_hub()
        faults = self._folder / "faults.toml"
        faults.write_text(scenario)
        with (self._folder / "sim.out").open("ab") as output:
            self._simulator = subprocess.Popen(
                [
                    *(sys.executable, "-m", "colossus_tui.sim", "--hub", self.product.address),
                    *(f"--nodes={NODES}", "--scenario", str(faults), "--no-failures"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.product.environment,
            )
        until(self.is_whole, 40, message="every node of the site")

    def is_whole(self) -> bool:
        """Return whether every node reports."""
        return self.product.ask(Client.site).reporting_node_count == NODES

    def incidents(self, *, closed: bool = False) -> tuple[Incident, ...]:
        """Return incidents; without closed ones unless asked for."""
        found = self.product.ask(lambda client: client.incidents(closed=closed))
        return tuple(one for one in found if closed or not one.is_closed)

    def close(self) -> None:
        """End both."""
        if self._simulator is not None:
            self._simulator.terminate()
            self._simulator.wait(10)
        self.product.close()
