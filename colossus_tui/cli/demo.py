"""`colossus demo`: starts the seven runs beside a hub of their own, shows them, ends them."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from colossus_tui.cli.look import await_first_frame
from colossus_tui.client import Client, ColossusError
from colossus_tui.demo.runs import RUNS
from colossus_tui.embedded import Embedded, EmbeddedError
from colossus_tui.model import ActionParameters, ReasonCode
from colossus_tui.paths import PathError, hub_socket, make_private, state_dir

SITE_NAME = "demo on this machine"
STOP_SECONDS = 10.0
RETRY_SECONDS = 0.1


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo; returns 0 when it could be shown."""
    # Its own folders: the user's own runs are not the demo's business.
    os.environ["COLOSSUS_STATE_DIR"] = str(state_dir() / "demo")
    os.environ["COLOSSUS_RUNTIME_DIR"] = str(hub_socket().parent / "demo")
    headless = arguments.headless or not sys.stdout.isatty()
    for number in (signal.SIGHUP, signal.SIGTERM):  # a closed terminal must not leave runs behind
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _leave)
    try:
        folder = make_private(make_private(state_dir()) / "checkpoints")
        with Embedded(SITE_NAME) as embedded:
            starter = threading.Thread(target=_start, args=(embedded.address, folder), daemon=True)
            starter.start()
            try:
                return _show(embedded, arguments, headless)
            except KeyboardInterrupt:
                return 0
            finally:
                starter.join(30.0)
                if not arguments.keep:
                    _stop(embedded.address)
    except (EmbeddedError, PathError, ColossusError) as error:
        sys.stderr.write(f"colossus demo: {error}\n")
        return 1


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _show(embedded: Embedded, arguments: argparse.Namespace, headless: bool) -> int:
    if headless:
        time.sleep(arguments.seconds or 20.0)
        with Client(embedded.address) as client:
            _print(client, as_json=arguments.json)
        return 0
    from colossus_tui.tui.app import run_console

    return run_console(
        embedded.address,
        ascii_only=arguments.ascii,
        theme=arguments.theme,
        looks_only=arguments.look,
        bandwidth=arguments.bandwidth,
        end_after_seconds=arguments.seconds,
    )


def _print(client: Client, *, as_json: bool) -> None:
    from colossus_tui.cli import look, output

    parts, text = look.status(client, argparse.Namespace())
    output.show(output.as_json(**parts) if as_json else text)


def _start(address: str, folder: Path) -> None:
    """Start each run that is not already there."""
    with Client(address, timeout=20.0) as client:
        await_first_frame(client)
        for run in RUNS:
            preview = client.preview("start", run.name, ActionParameters(spec=run.spec(folder)))
            if preview.refusal is ReasonCode.CONFLICT:
                continue  # kept from an earlier demo
            client.submit("start", run.name, ActionParameters(spec=run.spec(folder)), reason="demo")


def _stop(address: str) -> None:
    """End the demo's runs and wait until they are seen to be gone."""
    parameters = ActionParameters(force=True, grace_seconds=2.0)
    deadline = time.monotonic() + 2 * STOP_SECONDS
    try:
        with Client(address, timeout=STOP_SECONDS) as client:
            while left := _living(client):
                if time.monotonic() > deadline:
                    raise ColossusError(f"not ended: {', '.join(left)}")
                asked = [
                    client.submit("stop", run_id, parameters, reason="the demo ends")
                    for run_id in left
                ]
                for action in asked:
                    if not action.state.is_end:
                        client.wait(action.action_id, STOP_SECONDS)
                    else:  # refused, as while another action on it is under way
                        time.sleep(RETRY_SECONDS)
    except ColossusError as error:
        sys.stderr.write(f"colossus demo: runs may still be there: {error}\n")


def _living(client: Client) -> list[str]:
    names = {run.name for run in RUNS}
    return [run.run_id for run in client.runs() if run.run_id in names and not run.state.is_over]
