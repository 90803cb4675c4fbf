"""`colossus-agent`: arguments, signals, exit codes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from colossus_agent.config import AgentConfig, ConfigError, resolve

if TYPE_CHECKING:
    from colossus_agent.sampler import Sampler

USAGE_ERROR = 2
EXAMPLES = """examples:
  colossus-agent --hub unix:/run/colossus/hub.sock
  colossus-agent --hub 127.0.0.1:7717 --node-name rack3-n07 --rack rack3 --hall B
  colossus-agent --hub 127.0.0.1:7717 --check      what can be measured here
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    root = argparse.ArgumentParser(
        prog="colossus-agent",
        description="Stream this node's GPU, power and run figures to a hub, and obey it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--hub", metavar="ADDRESS", help="unix:/path or HOST:PORT (loopback)")
    root.add_argument("--node-name", metavar="NAME", help="stable name; default: the host name")
    root.add_argument("--rack", metavar="NAME", help="rack of the node")
    root.add_argument("--hall", metavar="NAME", help="hall of the node")
    root.add_argument("--state-dir", metavar="DIR", help="default: ~/.local/state/colossus")
    root.add_argument("--sample-seconds", metavar="S", help="time between frames, default 1")
    root.add_argument("--log-file", metavar="FILE", help="default: standard error")
    root.add_argument("--config", metavar="FILE", help="TOML file with these settings")
    root.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    root.add_argument("--check", action="store_true", help="read every sensor once and say how")
    root.add_argument("--version", action="version", version=version("colossus-agent"))
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent; returns 0 after a signal, 1 after a failure, 2 for a wrong setting."""
    arguments = parser().parse_args(argv)
    if arguments.check and not arguments.hub:
        arguments.hub = "unix:/nowhere"
    try:
        config = resolve(arguments)
    except ConfigError as error:
        sys.stderr.write(f"colossus-agent: {error}\n")
        return USAGE_ERROR
    _log(config)
    from colossus_agent.sampler import Sampler  # after the settings are known to be good

    sampler = Sampler()
    try:
        if arguments.check:
            return asyncio.run(_check(sampler))
        return asyncio.run(_serve(config, sampler))
    finally:
        sampler.close()
        if sampler.is_stuck:  # a thread inside a driver call would hold up a normal exit
            logging.shutdown()
            os._exit(0)


def _log(config: AgentConfig) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if config.log_file is not None:
        handler = logging.handlers.RotatingFileHandler(
            config.log_file, maxBytes=4_000_000, backupCount=2
        )
    logging.basicConfig(
        level=logging.INFO,
        handlers=[handler],
        format="time=%(asctime)s level=%(levelname)s source=%(name)s %(message)s",
    )


async def _serve(config: AgentConfig, sampler: Sampler) -> int:
    from colossus_agent.app import Agent

    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if config.lifeline:
        _watch_lifeline(lambda: loop.call_soon_threadsafe(task.cancel))
    try:
        await Agent(config, sampler).run()
    except asyncio.CancelledError:
        return 0
    except Exception:  # the root of the process: log it and say so by the code
        logging.getLogger(__name__).exception("agent=failed")
    return 1


def _watch_lifeline(ended: Callable[[], object]) -> None:
    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            ended()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


async def _check(sampler: Sampler) -> int:
    """Print what can be measured here, and what cannot and why."""
    await sampler.sample()
    await asyncio.sleep(1.1)
    sample = await sampler.sample()
    write = sys.stdout.write
    for gpu in sampler.gpu_inventory():
        write(f"GPU {gpu.gpu_index}  {gpu.product_name}  {gpu.gpu_uuid}\n")
    if sampler.gpu_detail():
        write(f"no GPU: {sampler.gpu_detail()}\n")
    for collector in sample.collectors:
        write(f"{collector.name:<8} read in {collector.duration_seconds * 1000:.1f} ms\n")
    for status in sample.sensors:
        where = "host" if status.gpu_index < 0 else f"GPU {status.gpu_index}"
        write(f"{where:<8} {status.sensor:<24} {status.reason:<14} {status.detail!r}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
