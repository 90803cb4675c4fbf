"""The instant of the pictures, and the incidents of their site."""

from __future__ import annotations

from colossus_tui.model import (
    AffectedRun,
    Incident,
    IncidentEffect,
    IncidentNote,
    IncidentScope,
    IncidentState,
    NextStep,
    Severity,
    Verb,
)

NOW = 1_790_000_000 * 10**9  # 2026-09-21 14:13:20 UTC
SECOND = 10**9


def ago(seconds: float) -> int:
    """An instant so many seconds before."""
    return NOW - int(seconds * SECOND)


INCIDENTS = (
    Incident(
        17,
        "node.lost",
        Severity.CRITICAL,
        title="rack hall-b/r0417: 18 nodes lost (72 GPUs)",
        reason="no frame comes from 18 of its 18 nodes: power, network or agent",
        scope=IncidentScope.RACK,
        hall="hall-b",
        rack="r0417",
        first_seen_unix_ns=ago(190),
        last_seen_unix_ns=NOW,
        member_count=18,
        peak_member_count=18,
        node_count=18,
        gpu_count=72,
        members=tuple(f"node-{number:06d}" for number in range(4_117, 4_135)),
        runs=(AffectedRun("10t", 72, "164-235"),),
        run_count=1,
        effects=(
            IncidentEffect(
                "run.collective_hang",
                "10t",
                "a collective hangs: utilisation 100%, but 380 W where 1,000 W are usual",
                Severity.CRITICAL,
            ),
        ),
        notes=(IncidentNote(ago(130), "", "opened"),),
        next_step=NextStep(screen="map", subject="hall-b/r0417"),
    ),
    Incident(
        18,
        "run.straggler",
        title="run 6t: waits for rank 37",
        reason="node-000042 GPU 1 (rank 37) at 1,095 of 1,979 MHz",
        scope=IncidentScope.RUN,
        run_id="6t",
        first_seen_unix_ns=ago(660),
        last_seen_unix_ns=NOW,
        member_count=1,
        peak_member_count=1,
        runs=(AffectedRun("6t", 1, "37"),),
        run_count=1,
        flap_count=2,
        next_step=NextStep(Verb.DRAIN, subject="node-000042"),
    ),
    Incident(
        15,
        "run.failed",
        Severity.CRITICAL,
        title="run 1.5t-b: failed",
        reason="rank 3 was ended by signal 9",
        scope=IncidentScope.RUN,
        run_id="1.5t-b",
        first_seen_unix_ns=ago(4_000),
        last_seen_unix_ns=NOW,
        member_count=1,
        peak_member_count=1,
        runs=(AffectedRun("1.5t-b", 9_216),),
        run_count=1,
        acknowledged_by="ada",
        acknowledged_time_unix_ns=ago(3_600),
        next_step=NextStep(Verb.RESUME, subject="1.5t-b"),
    ),
    Incident(
        12,
        "power.limit",
        title="limit hall C feed: nearly reached or passed",
        reason="hall C feed: 166.00 of 170.00 MW, 97.6%",
        subject="hall C feed",
        first_seen_unix_ns=ago(9_000),
        last_seen_unix_ns=NOW,
        member_count=1,
        peak_member_count=1,
        silenced_by="bob",
        silenced_until_unix_ns=NOW + 2_400 * SECOND,
        next_step=NextStep(screen="power", subject="hall-c"),
    ),
    Incident(
        11,
        "gpu.fault",
        state=IncidentState.CLOSED,
        title="node node-000007: has failed GPUs (1 GPU)",
        scope=IncidentScope.NODE,
        hall="hall-a",
        rack="r0000",
        node_name="node-000007",
        first_seen_unix_ns=ago(9_600),
        last_seen_unix_ns=ago(2_500),
        closed_time_unix_ns=ago(2_200),
        peak_member_count=1,
        gpu_count=1,
    ),
)
