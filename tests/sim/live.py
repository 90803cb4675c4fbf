"""A simulated site at a real hub, both processes of their own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from colossus_tui.client import Client
from colossus_tui.model import Alert, FoundGpu, RunDetail
from colossus_tui.sim.plan import plan_site
from tests.e2e.product import BIN, Product
from tests.support import until

PLAN = plan_site(400)


class LiveSite:
    """A hub with the simulated site's limits, and the simulator that is linked to it."""

    def __init__(self, folder: Path) -> None:
        self.product = Product(folder)
        self._folder = folder
        self._simulator: subprocess.Popen[bytes] | None = None

    def start(
        self, scenario: str = "", *, run_id: str = "", settings: str = "", prices: str = ""
    ) -> None:
        """Start both and wait until every node reports, and a run steps.

        Args:
            settings: Of the hub, beside the limits.
            prices: More of the hub's [prices], which come last.
        """
        config, faults = self._folder / "hub.toml", self._folder / "faults.toml"
        nodes = f"--nodes={PLAN.node_count}"
        config.write_text(settings + limits() + prices)
        faults.write_text(scenario)
        self.product.start_hub("--config", str(config))
        with (self._folder / "sim.out").open("ab") as output:
            self._simulator = subprocess.Popen(
                [
                    *(sys.executable, "-m", "colossus_tui.sim", "--hub", self.product.address),
                    *(nodes, "--scenario", str(faults), "--no-failures"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.product.environment,
            )
        until(self.is_whole, 30, message="every node of the site")
        if run_id:
            self.product.wait_state(run_id, "running")
            self.product.wait_step(run_id, 1)

    def is_whole(self) -> bool:
        """Return whether every node reports."""
        return self.product.ask(Client.site).reporting_node_count == PLAN.node_count

    def alerts(self, run_id: str, kind: str) -> list[Alert]:
        """Return a run's alerts of one kind."""
        return [alert for alert in self.run(run_id).run.alerts if alert.kind == kind]

    def gpu(self, node_name: str, gpu_index: int) -> FoundGpu:
        """Return one GPU as it is now."""
        where = f"node={node_name} gpu={gpu_index}"
        return self.product.ask(lambda client: client.find_gpus(where)).gpus[0]

    def run(self, run_id: str) -> RunDetail:
        """Return one run as it is now."""
        return self.product.ask(lambda client: client.run(run_id))

    def close(self) -> None:
        """End both."""
        if self._simulator is not None:
            self._simulator.terminate()
            self._simulator.wait(10)
        self.product.close()


@cache
def limits() -> str:
    """Return the limits of the site as the command line gives them."""
    words = ("sim", f"--nodes={PLAN.node_count}", "--limits")
    return subprocess.run(
        [str(BIN / "colossus"), *words], check=True, capture_output=True, text=True
    ).stdout


@contextmanager
def live_site() -> Iterator[LiveSite]:
    """Yield a site that is not started yet, and end it."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:  # short: it holds a socket
        site = LiveSite(Path(folder))
        try:
            yield site
        finally:
            site.close()
