"""Recordings as tests need them: answers with made-up figures, at made-up instants."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from colossus_protos.v1 import action_pb2, common_pb2, console_pb2, site_pb2
from colossus_tui.recording import FileSink, Writer

START = 1_800_000_000 * 10**9
SECOND = 10**9


def header(second: float) -> console_pb2.Header:
    """Return what a hub says of itself at an instant."""
    return console_pb2.Header(
        revision=1, time_unix_ns=START + int(second * SECOND), hub_version="0.1.0", role="operator"
    )


def runs(
    second: float, *names: str, step: int = 0, alert: str = ""
) -> console_pb2.WatchViewResponse:
    """Return the site and its runs."""
    answer = console_pb2.WatchViewResponse(
        header=header(second), site=console_pb2.Site(site_name="memphis", node_count=1)
    )
    for name in names:
        run = answer.runs.add(run_id=name, state=console_pb2.RUN_STATE_RUNNING, step=step)
        run.age_seconds = 0.5
        if alert:
            run.alerts.add(severity=common_pb2.SEVERITY_WARNING, kind="straggler", message=alert)
    return answer


def events(
    second: float, *numbers: int, actions: Iterable[str] = ()
) -> console_pb2.WatchViewResponse:
    """Return events, newest first, and actions."""
    answer = console_pb2.WatchViewResponse(header=header(second))
    for number in numbers:
        answer.events.add(
            event_id=number,
            time_unix_ns=START + int(second * SECOND),
            severity=common_pb2.SEVERITY_WARNING,
            kind="xid",
            message=f"XID {number}",
            node_name="node-1",
        )
    for action_id in actions:
        answer.actions.add(
            action_id=action_id,
            verb=common_pb2.VERB_PAUSE,
            run_id="10t",
            state=action_pb2.ACTION_STATE_OBSERVED,
            operator="ada",
        )
    return answer


def detail(second: float, name: str, step: int) -> console_pb2.WatchViewResponse:
    """Return one run down to its ranks, with its past."""
    answer = console_pb2.WatchViewResponse(header=header(second))
    answer.run.run.run_id = name
    answer.run.run.step = step
    answer.run.run.node_names.extend(["node-1", "node-2"])
    answer.run.ranks.add(rank=0, node_name="node-1", age_seconds=1.0)
    answer.series.add(name="loss", times_unix_ns=[START], steps=[step], values=[2.5])
    return answer


def site_map(second: float, watts: bytes) -> console_pb2.WatchViewResponse:
    """Return a map of one cell."""
    drawn = site_pb2.SiteMap(metric="power", unit="W", values=watts)
    drawn.layout.revision = 1
    drawn.layout.group_names.append("hall-A")
    drawn.layout.group_sizes.append(1)
    drawn.layout.cell_names.append("r1")
    drawn.layout.gpu_counts.append(8)
    return console_pb2.WatchViewResponse(header=header(second), map=drawn)


def recorded(path: Path, seconds: int = 150, *, end: bool = True) -> Path:
    """Write a recording: a step each second, a new alert at 70 s, an action at 100 s."""
    writer = Writer(FileSink(path))
    for second in range(seconds):
        alert = "rank 3 is slow" if second >= 70 else ""
        writer.put("runs", runs(second, "10t", "6t", step=second, alert=alert))
        actions = ["action-1"] if second >= 100 else []
        writer.put("events", events(second, *range(second // 40, 0, -1), actions=actions))
        if second % 10 == 0:
            writer.put("run/10t", detail(second, "10t", second))
            writer.put("map///power/", site_map(second, bytes([second % 256, 0, 0, 0])))
        if second == 0:
            writer.flush()
    if end:
        writer.close()
    else:
        writer.flush()
    return path
