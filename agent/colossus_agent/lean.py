"""Loading the large libraries so that they cost a node little; to be called before any of them."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import cast

# Read by grpc's core when it is loaded. Its engine's threads and its backup poller wake some 50
# times for each message; without them a link at 1 Hz costs less than half (measured with 1.85).
# A core that does not know the experiment would say so on standard error, hence the verbosity.
GRPC_TUNING = {
    "GRPC_EXPERIMENTS": "-event_engine_client",
    "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS": "0",
    "GRPC_VERBOSITY": "NONE",
}


def load_libraries() -> None:
    """Load asyncio and grpc; the environment, which ranks inherit, stays as it was."""
    # asyncio does without ssl where there is none, and saves 4 MiB; grpc brings its own.
    sys.modules.setdefault("ssl", cast("ModuleType", None))
    added = [name for name in GRPC_TUNING if name not in os.environ]
    os.environ.update({name: GRPC_TUNING[name] for name in added})
    import grpc.aio  # noqa: F401  # loaded here for its effect

    for name in added:
        del os.environ[name]
