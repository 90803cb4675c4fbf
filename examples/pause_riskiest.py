"""Pause the run with the most work at risk and wait for the outcome."""

import sys

from colossus_tui.client import Client

with Client() as client:
    running = [run for run in client.runs() if run.state == "running"]
    riskiest = max(running, key=lambda run: run.work_at_risk_hours or 0, default=None)
    if riskiest is None:
        sys.exit("no run is running")
    action = client.pause(riskiest.run_id, reason="most work at risk", wait=True)
    print(f"{riskiest.run_id}: {action.state}, {action.detail}")
    sys.exit(0 if action.state == "observed" else 1)
