"""Caps GPUs as the agent does, on orders from its input: `python -m tests.agent.capping FOLDER`.

A line is a JSON object: {"id", "run", "watts"} is a directive and is answered with its result; {}
is a look at what has ended, answered with that and with the cap of each run named in "runs". Time
passes ten times as fast for what waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from colossus_agent.control.cap import Caps
from colossus_agent.directives import Directives
from colossus_agent.runs.supervisor import Supervisor
from colossus_agent.sampler import Sampler
from colossus_protos.v1 import directive_pb2

TICK_SECONDS = 0.2
FASTER = 10


async def _sample(sampler: Sampler) -> None:
    while True:
        await sampler.sample()
        await asyncio.sleep(TICK_SECONDS)


def _answer(folder: Path, sampler: Sampler, caps: Caps) -> None:
    supervisor = Supervisor(folder, caps=caps)
    supervisor.adopt()
    directives = Directives(folder / "directives.jsonl", supervisor)
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        if "id" in order:
            directive = directive_pb2.Directive(directive_id=order["id"], run_id=order["run"])
            directive.set_power_limit.watts = order["watts"]
            said = json_format.MessageToDict(
                directives.execute(directive),
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
        else:
            ended = dict(supervisor.poll().uncapped)
            said = {"ended": ended, "caps": {run: caps.watts(run) for run in order["runs"]}}
        said["holders"] = {str(gpu): sorted(runs) for gpu, runs in sampler.gpu_holders().items()}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
    os._exit(0)


async def _main(folder: Path) -> None:
    sampler = Sampler()
    caps = Caps(folder / "power_limits.json", sampler, lambda: time.monotonic() * FASTER)
    asyncio.get_running_loop().run_in_executor(None, _answer, folder, sampler, caps)
    await _sample(sampler)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(exist_ok=True)
    asyncio.run(_main(Path(sys.argv[1])))
