"""`colossus-agent`: arguments and exit codes."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from colossus_agent import VERSION, lean, log
from colossus_agent.config import AgentConfig, ConfigError, make_state_dir, resolve

FAILED, USAGE_ERROR = 1, 2
EXAMPLES = """examples:
  colossus-agent --hub unix:/run/colossus/hub.sock
  colossus-agent --hub 127.0.0.1:7717 --node-name rack3-n07 --rack rack3 --hall B
  colossus-agent --check                           what can be measured here

Each setting may also come from the environment (COLOSSUS_HUB, COLOSSUS_NODE_NAME, ...) or from a
TOML file (hub = "...", node_name = "...", ...). The command line wins, then the environment.
exit codes: 0 ended by a signal or its lifeline, 1 failed, 2 a setting is wrong
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    root = argparse.ArgumentParser(
        prog="colossus-agent",
        description="Stream this node's GPU, power and run figures to a hub, and obey it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument(
        "--hub",
        metavar="ADDRESS",
        help="unix:/path or HOST:PORT (loopback); several with commas, in the order to try them",
    )
    root.add_argument("--node-name", metavar="NAME", help="stable name; default: the host name")
    root.add_argument("--rack", metavar="NAME", help="rack of the node")
    root.add_argument("--hall", metavar="NAME", help="hall of the node")
    root.add_argument("--state-dir", metavar="DIR", help="default: ~/.local/state/colossus")
    root.add_argument("--sample-seconds", metavar="S", help="time between frames, default 1")
    root.add_argument("--log-file", metavar="FILE", help="default: standard error")
    root.add_argument("--cuda-checkpoint", metavar="FILE", help="lets a freeze release GPU memory")
    root.add_argument("--config", metavar="FILE", help="TOML file with these settings")
    root.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    root.add_argument("--check", action="store_true", help="read every sensor and say how it is")
    root.add_argument("--json", action="store_true", help="of --check: one JSON object")
    root.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    return root


def run(argv: Sequence[str] | None = None) -> int:
    """Run the agent and return its exit code."""
    arguments = parser().parse_args(argv)
    try:
        config = resolve(arguments, hub_needed=not arguments.check)
        if not arguments.check:
            make_state_dir(config)
            _start_log(config)
    except ConfigError as error:
        sys.stderr.write(f"colossus-agent: {error}\n")
        return USAGE_ERROR
    lean.load_libraries()
    if arguments.check:
        from colossus_agent.check import check

        code = check(config, as_json=arguments.json)
        sys.stdout.flush()  # here, where a reader that has gone is still an error
        return code
    from colossus_agent.serve import InUseError, hold, serve

    try:
        hold(config.state_dir)
    except InUseError as error:
        text = f"state_dir {str(config.state_dir.parent)!r}: the agent with pid {str(error)!r} "
        sys.stderr.write(f"colossus-agent: {text}uses it; end that, or name another folder\n")
        logging.getLogger(__name__).error("state=in-use holder=%r", str(error))
        return FAILED
    return 0 if serve(config) else FAILED


def main() -> NoReturn:
    """Run the agent and end the process, whatever thread is still inside a driver's call."""
    try:
        code = run()
    except SystemExit as end:  # argparse: --help, --version or a wrong option
        code = end.code if isinstance(end.code, int) else USAGE_ERROR
    except BrokenPipeError:  # whoever read --check has gone
        code = FAILED
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _start_log(config: AgentConfig) -> None:
    try:
        log.start(config.log_file)
    except OSError as error:
        raise ConfigError(
            f"log_file {str(config.log_file)!r}: {error.strerror}; name a file that can be written"
        ) from None


if __name__ == "__main__":
    main()
