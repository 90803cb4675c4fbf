"""One site at one instant, for pictures: seven runs, nodes, maps and actions that never change."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace

from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionStage,
    ActionState,
    Alert,
    Badput,
    BulkPreflight,
    Checkpoint,
    Confirmation,
    Curve,
    Event,
    Extreme,
    Figure,
    Found,
    FoundGpu,
    Freshness,
    Gpu,
    Header,
    HostInventory,
    IdleGroup,
    IdleKind,
    IdleView,
    MapLayout,
    MapRequest,
    MetricValue,
    MissingReason,
    Money,
    NamedLimit,
    Node,
    NodeDetail,
    Preflight,
    PriorityClass,
    ProcessSample,
    Rank,
    RankExit,
    RankResult,
    ReasonCode,
    RollUp,
    Run,
    RunDetail,
    RunState,
    Series,
    Severity,
    Site,
    SiteMap,
    SiteMoney,
    Spread,
    Verb,
    View,
)
from tests.tui.world_incidents import INCIDENTS, NOW, SECOND, ago
from tests.tui.world_power import POWER

HALLS = ("hall-a", "hall-b", "hall-c", "hall-d")
RACKS_A_HALL = 420


def noise(index: int, salt: int = 0) -> float:
    """A number from 0 to 1 that is the same everywhere."""
    return (index * 2_654_435_761 + salt * 40_503 + (index >> 3) * 97) % 10_007 / 10_007


def alert(severity: Severity, message: str) -> Alert:
    return Alert(severity, "test", message, ago(95))


def run(
    name: str, priority_class: PriorityClass, state: RunState, gpus: int, **more: object
) -> Run:
    index = sum(map(ord, name))
    known: dict[str, object] = {
        "run_id": name,
        "label": "pre-train",
        "state": state,
        "state_since_unix_ns": ago(7_200),
        "priority_class": priority_class,
        "node_names": tuple(f"node-{n:06d}" for n in range(index, index + 3)),
        "reporting_node_count": 3,
        "gpu_count": gpus,
        "reporting_gpu_count": gpus,
        "rank_count": gpus,
        "alive_rank_count": gpus,
        "attempt": 1 + index % 3,
        "hooked": True,
        "step": 12_000 + index * 17,
        "step_seconds_p50": 4.0 + noise(index) * 20,
        "step_seconds_p99": 5.0 + noise(index) * 24,
        "tokens_per_second": 1e6 * (1 + noise(index, 1) * 40),
        "tokens": 3_100_000_000_000 + index,
        "loss": 1.4 + noise(index, 2),
        "grad_norm": 0.31,
        "recent_losses": tuple(2.4 - n * 0.02 + noise(n, index) * 0.1 for n in range(40)),
        "mfu_ratio": 0.38 + noise(index, 3) * 0.1,
        "mfu_method": "6ND, bf16 peak",
        "ettr_ratio_1h": 0.981,
        "ettr_ratio": 0.948,
        "badput": (Badput("restart", 5_400.0), Badput("checkpoint", 1_260.0)),
        "durable_step": 11_900 + index * 17,
        "durable_time_unix_ns": ago(600 + index),
        "checkpoint_plan_seconds": 1_800.0,
        "checkpoint_bytes": 14 * 10**12,
        "checkpoint_seconds": 41.0,
        "work_at_risk_hours": gpus / 6,
        "work_unit": "GPU·h",
        "power_watts": gpus * 1_180.0,
        "target_steps": 90_000,
        "eta_unix_ns": NOW + 40 * 86_400 * SECOND,
        "eta_early_unix_ns": NOW + 37 * 86_400 * SECOND,
        "eta_late_unix_ns": NOW + 44 * 86_400 * SECOND,
        "planned_end_unix_ns": NOW + (36 + index % 7) * 86_400 * SECOND,
        "parameters_count": (index + 1) * 10**12,
        "joules_per_token": gpus * 1_180.0 / (1e6 * (1 + noise(index, 1) * 40)),
        "watchdog_seconds": 1_800.0,
        "command": "python train.py --config big.yaml",
        "started_time_unix_ns": ago(900_000),
        "step_source": "hook",
        "money": Money("$", gpus * 2.1, gpus * 260.0, gpus * 2_000.0, 41.2, gpus * 0.35, 1.0, 0.97),
        "energy_joules": gpus * 1.1e9,
        "gpu_hours": gpus * 250.0,
    }
    return Run(**(known | more))  # type: ignore[arg-type]


LATE = alert(Severity.WARNING, "checkpoint is 1.6 of its plan old")
DEAD = alert(Severity.CRITICAL, "rank 1,812 ended by signal 9 on node-004117")
RUNS = (
    run("10t", PriorityClass.P0, RunState.RUNNING, 180_000, alerts=(LATE,)),
    run("6t", PriorityClass.P0, RunState.PAUSING, 120_000, open_action_id="a-1"),
    run("1.5t-a", PriorityClass.P1, RunState.RUNNING, 60_000),
    run("1.5t-b", PriorityClass.P1, RunState.FAILED, 60_000, alerts=(DEAD,), power_watts=None),
    run("1t-a", PriorityClass.P2, RunState.FROZEN, 40_000, fuse_deadline_unix_ns=NOW + 40 * SECOND),
    run("1t-b", PriorityClass.P2, RunState.PAUSED, 40_000, reporting_gpu_count=39_996),
    run(
        "imagine-v2",
        PriorityClass.P3,
        RunState.STARTING,
        50_000,
        step=None,
        loss=None,
        durable_step=None,
        durable_time_unix_ns=0,
        recent_losses=(),
        age_seconds=22.0,
    ),
)
SITE = Site(
    "memphis",
    137_500,
    137_468,
    550_000,
    549_870,
    612.4e6,
    "measured at the devices",
    137_468,
    {state.value: sum(one.state is state for one in RUNS) for state in RunState},
    1.2,
    0.41,
    (alert(Severity.WARNING, "hall B contract: 91 % used"),),
    (
        NamedLimit("hall B contract", "hall-b", 180e6, 163.8e6, 150_000, 150_000),
        NamedLimit("site contract", "", 700e6, 612.4e6, 549_870, 550_000),
        NamedLimit("hall C feed", "hall-c", 170e6, 166e6, 140_000, 150_000),
    ),
    SiteMoney(
        "$", 1.19e6, 1.16e6, 30_620.0, 549_870, 550_000, 50.0, 1.2, 21_400.0, 960.0, "hub.toml"
    ),
    2,
    1,
)
IDLE = IdleView(
    (
        IdleGroup(
            IdleKind.HELD,
            "1.5t-b",
            "eve",
            "hall-b",
            "its ranks are gone",
            9_216,
            ago(9_000),
            ago(4_000),
            False,
            19_353.0,
            ("node-004117", "node-004118"),
        ),
        IdleGroup(
            IdleKind.FREE,
            hall="hall-c",
            why="nobody holds them",
            gpu_count=456,
            oldest_since_unix_ns=ago(80_000),
            median_since_unix_ns=ago(30_000),
            at_least=True,
            per_hour=957.6,
            node_names=("node-000042",),
        ),
    ),
    550_000,
    549_870,
    600.0,
)
EVENTS = (
    Event(9, ago(4), Severity.CRITICAL, "exit", DEAD.message, "node-004117", "1.5t-b"),
    Event(8, ago(31), Severity.WARNING, "xid", "XID 94 on its GPU", "node-004117", "", 2),
    Event(7, ago(65), Severity.INFO, "state", "running to pausing: alice asked", "", "6t"),
    Event(6, ago(240), Severity.INFO, "link", "linked again after 12 s", "node-000042"),
    Event(5, ago(900), Severity.WARNING, "checkpoint", LATE.message, "", "10t"),
)
PAUSE_STAGES = (
    ActionStage(ago(65), ActionState.REQUESTED, "by alice"),
    ActionStage(ago(65), ActionState.ACCEPTED, "policy and generation are right"),
    ActionStage(ago(64), ActionState.DISPATCHED, "save at step 14,208, sent to 30,000 nodes"),
)
ACTIONS = (
    Action(
        "0f9a3c1e-0000-4000-8000-000000000001",
        Verb.PAUSE,
        "6t",
        ActionState.DISPATCHED,
        detail="119,204 of 120,000 ranks have saved",
        operator="alice",
        reason="feed B",
        requested_time_unix_ns=ago(65),
        updated_time_unix_ns=ago(2),
        agreed_step=14_208,
        stages=PAUSE_STAGES,
        confirmed_rank_count=119_204,
        rank_count=120_000,
        can_cancel=True,
    ),
    Action(
        "0f9a3c1e-0000-4000-8000-000000000002",
        Verb.FREEZE,
        "1t-a",
        ActionState.PARTIAL,
        detail="47 of 10,000 nodes did not confirm",
        operator="bob",
        requested_time_unix_ns=ago(600),
        updated_time_unix_ns=ago(571),
        stages=(ActionStage(ago(600), ActionState.REQUESTED, "by bob"),),
        ranks=(RankResult(17, False, "its process does not stop"),),
        missing_nodes=tuple(f"node-{n:06d}" for n in range(47)),
        confirmed_node_count=9_953,
        node_count=10_000,
    ),
    Action(
        "0f9a3c1e-0000-4000-8000-000000000003",
        Verb.STOP,
        "10t",
        ActionState.REQUESTED,
        detail="waits for another operator",
        operator="carol",
        requested_time_unix_ns=ago(20),
        updated_time_unix_ns=ago(20),
        approvals=("carol",),
        approvals_needed=2,
    ),
    Action(
        "0f9a3c1e-0000-4000-8000-000000000004",
        Verb.DRAIN,
        "",
        ActionState.REFUSED,
        ReasonCode.POLICY,
        "node-000042 holds a P0 run",
        "dan",
        requested_time_unix_ns=ago(4_000),
        updated_time_unix_ns=ago(4_000),
        parameters=ActionParameters(node_name="node-000042"),
    ),
    Action(
        "0f9a3c1e-0000-4000-8000-000000000005",
        Verb.CHECKPOINT,
        "10t",
        ActionState.OBSERVED,
        detail="durable at step 24,301",
        operator="alice",
        requested_time_unix_ns=ago(5_000),
        updated_time_unix_ns=ago(4_950),
    ),
)
_FRESH = (Freshness.LIVE,) * 5 + (Freshness.GREY, Freshness.STALE, Freshness.LOST)


def node(index: int) -> Node:
    fresh = _FRESH[index % 8] if index % 3 == 0 else Freshness.LIVE
    age = {"live": 0.8, "grey": 8.0, "stale": 31.0, "lost": 190.0}[fresh.value]
    known = fresh is not Freshness.LOST
    return Node(
        f"node-{index:06d}",
        HALLS[index % 4],
        f"r{index // 18:04d}",
        fresh,
        age,
        known,
        4,
        4 if known else 0,
        4_700 + 300 * noise(index) if known else None,
        gpu_temperature_max_celsius=58 + 20 * noise(index, 1),
        gpu_utilisation_ratio=0.97,
        cpu_utilisation_ratio=0.3 + noise(index, 2) * 0.3,
        memory_used_bytes=4.1e11,
        memory_total_bytes=9.6e11,
        load_1m=61.5,
        run_ids=(RUNS[index % 7].run_id,),
        failing_sensor_count=3 if index == 4 else 0,
        agent_version="0.1.0",
    )


NODES = tuple(node(index) for index in range(40))
GPU_COLUMNS = (
    ("gpu_utilisation", "ratio", 0.97),
    ("memory_used", "B", 178e9),
    ("power", "W", 1_190.0),
    ("gpu_temperature", "C", 64.0),
    ("sm_clock", "MHz", 1_965.0),
    ("tensor_active", "ratio", 0.61),
    ("memory_temperature", "C", 71.0),
    ("xid", "", 94.0),
    ("ecc_dbe_volatile", "", 0.0),
)


def gpu(index: int) -> Gpu:
    values = tuple(
        MetricValue(name, unit, value * (1 + noise(index) * 0.02), None, 0.8)
        for name, unit, value in GPU_COLUMNS
    )
    if index == 1:
        stuck = MetricValue("power", "W", None, MissingReason.STUCK, 41.0)
        values = tuple(stuck if value.name == "power" else value for value in values)
    if index == 2:
        values = tuple(
            replace(value, age_seconds=12.0) if value.name == "gpu_temperature" else value
            for value in values
        )
    return Gpu(
        "node-000004",
        index,
        f"GPU-{index}c0ffee-0000-0000-0000-000000000000",
        "NVIDIA GB300",
        "10t",
        288 * 10**9,
        1_400.0,
        values,
        MissingReason.LOST if index == 3 else None,
    )


NODE_DETAIL = NodeDetail(
    NODES[4],
    HostInventory("Debian 12", "6.8.0", "Neoverse-V2", 144, 960 * 10**9, "boot", "590.44"),
    (
        MetricValue("cpu_utilisation", "ratio", 0.41),
        MetricValue("memory_used", "B", 4.1e11),
        MetricValue("load_1m", "", 61.5),
        MetricValue("cpu_power", "W", None, MissingReason.NOT_PERMITTED),
    ),
    tuple(map(gpu, range(4))),
    processes=tuple(
        ProcessSample(
            4_100 + rank,
            name="python",
            command="python train.py --config big.yaml",
            user="trainer",
            run_id="10t",
            rank=16 + rank,
            cpu_ratio=1.2,
            resident_bytes=41 * 10**9,
            gpu_indices=(rank,),
        )
        for rank in range(4)
    ),
)
RANKS = tuple(
    Rank(
        index,
        f"node-{index // 4:06d}",
        4_100 + index if index != 5 else 0,
        index != 5,
        "R",
        RankExit(True, 0, 9) if index == 5 else None,
        step=24_304,
        step_seconds_p50=11.2 if index != 2 else 17.4,
        loss=1.4712,
        relative_speed_ratio=0.99 if index != 2 else 0.64,
        cpu_ratio=1.2,
        resident_bytes=41 * 10**9,
        age_seconds=0.8 if index != 3 else 12.0,
    )
    for index in range(8)
)
RUN_DETAIL = RunDetail(
    RUNS[0],
    RANKS,
    (Spread("step_seconds", "s", 11.0, 11.2, 17.4, "rank 0", "rank 2", "max", 8, 8),),
    (
        Checkpoint(24_300, ago(700), 180_000, 180_000, 14 * 10**12, "/ckpt/10t/24300", True),
        Checkpoint(24_200, ago(2_500), 180_000, 180_000, 14 * 10**12, "/ckpt/10t/24200", False),
    ),
    events=tuple(event for event in EVENTS if event.run_id == "10t"),
    actions=(ACTIONS[4], ACTIONS[2]),
    output_tail="step 24303 loss 1.4719\nstep 24304 loss 1.4712\n",
)
SERIES = (
    Series(
        "loss",
        "",
        tuple(ago(4_000 - n * 10) for n in range(400)),
        tuple(range(23_904, 24_304)),
        tuple(1.47 + 0.4 * math.exp(-n / 120) + noise(n) * 0.03 for n in range(400)),
    ),
    Series(
        "tokens_per_second",
        "",
        tuple(ago(4_000 - n * 10) for n in range(400)),
        tuple(range(23_904, 24_304)),
        tuple(3.1e7 + noise(n, 5) * 9e5 - (9e6 if 200 < n < 215 else 0) for n in range(400)),
    ),
)
FOUND = Found(
    64,
    tuple(
        FoundGpu(
            f"node-{n:06d}",
            n % 4,
            f"GPU-{n}c0ffee-0000-0000-0000-000000000000",
            HALLS[n % 4],
            f"r{n:04d}",
            RUNS[n % 7].run_id,
            n * 31,
            0.8 if n % 5 else 44.0,
            {"power": 1_180.0 + n, "gpu_temperature": 61.0 + n},
        )
        for n in range(20)
    ),
)


def preflight(run_id: str, *, confirmation: Confirmation = Confirmation.YES_NO) -> Preflight:
    return Preflight(
        Verb.PAUSE,
        run_id,
        3,
        True,
        effect="saves at a step that all ranks agree on, then ends and releases its GPUs",
        figures=(
            Figure("land_step", "lands on step", 24_310, "", "six steps ahead of all ranks"),
            Figure("redo_steps", "steps to redo", 0, "", "it saves first"),
            Figure("work_at_risk", "work at risk", 30_000.0, "GPU·h", "since step 24,300"),
            Figure("save_seconds", "time to save", 41.0, "s", "measured at its last checkpoint"),
            Figure("power_change", "power", -212.4e6, "W", "measured at the devices, 1 s ago"),
        ),
        warnings=("its checkpoint is 1.6 of its plan old",),
        confirmation=confirmation,
    )


def refusal(run_id: str) -> Preflight:
    why = "it is paused already"
    return Preflight(Verb.PAUSE, run_id, refusal=ReasonCode.CONFLICT, refusal_detail=why)


BULK = BulkPreflight(
    Verb.PAUSE,
    (preflight("1.5t-a"), preflight("1t-a"), refusal("1t-b")),
    (Figure("work_at_risk", "work at risk", 16_666.0, "GPU·h", "2 of 2 known"),),
    2,
)


def site_map(request: MapRequest) -> SiteMap:
    """The map that is asked for: of the site dense, of a rack few cells with their numbers."""
    if request.rack:
        groups: Sequence[tuple[str, list[str]]] = [
            (f"node-{n:06d}", ["0", "1", "2", "3"]) for n in range(18)
        ]
    elif request.hall:
        groups = [(f"r{n:04d}", [f"node-{n:04d}{m:02d}" for m in range(18)]) for n in range(24)]
    else:
        groups = [(hall, [f"r{n:04d}" for n in range(RACKS_A_HALL)]) for hall in HALLS]
    names = tuple(name for _, cells in groups for name in cells)
    layout = MapLayout(
        1,
        tuple(name for name, _ in groups),
        tuple(len(cells) for _, cells in groups),
        names,
        (1 if request.rack else 72,) * len(names),
    )
    values = [
        500 + 700 * (0.6 * noise(n // 40, 7) + 0.4 * noise(n, 3)) if n % 97 else math.nan
        for n in range(len(names))
    ]
    states = bytes({5: 3, 6: 4, 7: 9}.get(n % 211, 1) for n in range(len(names)))
    matches = array("i", [72 if n % 5 else 0 for n in range(len(names))]).tobytes()
    worst = tuple(
        Extreme(f"node-{n:06d}", n % 4, 1_398.0 - n, "10t", n * 17, 0.9) for n in range(8)
    )
    return SiteMap(
        request.hall,
        request.rack,
        request.metric,
        "W",
        layout,
        array("f", values).tobytes(),
        states,
        matches if request.where else b"",
        400_000 if request.where else 0,
        "",
        RollUp("power", "W", 550_000, 549_870, 612e6, 96, 1_190, 1_400, 1_392, 1.0, worst),
        request.where,
    )


def _curve(run: Run, place: int) -> Curve:
    """What a run of this size may have come to by now, a point a doubling."""
    tokens = tuple((place + 2) * 2**n for n in range(20, 41))
    losses = tuple(
        1.3 + 0.1 * place + 30 * count**-0.15 + 0.02 * noise(count, place) for count in tokens
    )
    times = tuple(ago((41 - n) * 20_000.0) for n in range(20, 41))
    return Curve(run.run_id, tokens, losses, tuple(range(1, 22)), times)


CURVES = tuple(_curve(run, place) for place, run in enumerate(RUNS) if run.loss is not None)


def view() -> View:
    """Everything at once; each screen takes what is its own."""
    return View(
        Header(7, NOW, "0.1.0", "operator"),
        SITE,
        RUNS,
        NODES,
        RUN_DETAIL,
        NODE_DETAIL,
        EVENTS,
        ACTIONS[:1],
        SERIES,
        idle=IDLE,
        power=POWER,
        incidents=INCIDENTS,
        curves=CURVES,
    )
