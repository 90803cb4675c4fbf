"""One run down to its ranks: facts, plots, ranks, spreads, checkpoints, events and actions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from colossus_tui.model import (
    Action,
    ActionState,
    Money,
    RankExit,
    Run,
    RunDetail,
    RunState,
    Series,
    bet_of,
)
from colossus_tui.text import (
    age,
    bytes_,
    clock,
    cores,
    duration,
    fit,
    hours,
    measured,
    money,
    number,
    ratio,
    safe,
    safe_lines,
    significant,
    watts,
)
from colossus_tui.tui.theme import SEVERITY_STYLES, STATE_STYLES, Glyphs
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.axis import WHOLE, Window
from colossus_tui.tui.views.bets import eta_text, plan_text
from colossus_tui.tui.views.past import REACHES, Reach, past_plots
from colossus_tui.tui.views.words import labelled

SLOW_RATIO = 0.7  # of the others' speed, under which a rank is a straggler
SPREAD_LABELS = {"step_seconds": "step time", "cpu": "CPU", "resident": "memory"}
_RANK_STATES = {"T": "stopped", "t": "traced", "D": "waits for disk"}


def run_lines(
    detail: RunDetail,
    series: Sequence[Series],
    cells: int,
    glyphs: Glyphs,
    reach: Reach = REACHES[0],
    window: Window = WHOLE,
) -> list[Line]:
    """Return the run screen's lines for this width."""
    lines = [*_facts(detail, cells, glyphs), ()]
    lines += past_plots(series, reach, window, cells, glyphs)
    for title, part in (
        ("RANKS", _ranks(detail, glyphs)),
        ("MIN / MEDIAN / MAX", _spreads(detail)),
        ("GPUS: MIN / MEDIAN / P99 / MAX", _roll_ups(detail)),
        ("CHECKPOINTS", _checkpoints(detail)),
        ("LAST OUTPUT OF RANK 0", _output(detail)),
        ("ACTIONS", _actions(detail.actions)),
        ("EVENTS", _events(detail, glyphs)),
    ):
        if part:
            lines += [(), ((title, "head"),), *part]
    return lines


def _durable(run: Run) -> str:
    if run.durable_step is None:
        return "none yet"
    return f"{number(run.durable_step)}, {age(run.durable_time_unix_ns)} old"


def _power(run: Run) -> str:
    cap = f", each GPU capped at {run.power_cap_watts:g} W" if run.power_cap_watts else ""
    return f"{watts(run.power_watts)}{cap}"


def _checkpoint_cost(run: Run) -> str:
    if run.checkpoint_bytes is None and run.checkpoint_seconds is None:
        return "none measured yet"
    return f"{bytes_(run.checkpoint_bytes)} in {duration(run.checkpoint_seconds)}"


def _facts(detail: RunDetail, cells: int, glyphs: Glyphs) -> list[Line]:
    run = detail.run
    head: Line = (
        (f"{glyphs.states[run.state]} {run.state}", STATE_STYLES[run.state]),
        (f" for {age(run.state_since_unix_ns)}", "dim"),
        (f"   class {run.priority_class} {run.priority_class.meaning}", "plain"),
        (f" ({run.backend_priority})" if run.backend_priority else "", "dim"),
        (f"   attempt {run.attempt}", "plain"),
        (f"   {safe(run.label, 16)}" if run.label else "", "dim"),
    )
    target = f" of {number(run.target_steps)}" if run.target_steps else ""
    bet = bet_of(run)
    eta = f", done in {eta_text(bet)}" if run.eta_unix_ns else ""
    plan = f", {plan_text(bet)}" if bet.late_seconds is not None else ""
    badput = ", ".join(f"{part.cause} {duration(part.seconds)}" for part in run.badput)
    pairs = [
        ("step", f"{number(run.step)}{target}{eta}{plan}"),
        (
            "step time",
            f"{duration(run.step_seconds_p50)} p50, {duration(run.step_seconds_p99)} p99",
        ),
        ("loss", f"{significant(run.loss)}, grad norm {significant(run.grad_norm)}"),
        ("tokens/s", f"{number(run.tokens_per_second)}, {number(run.tokens)} so far"),
        ("steps from", safe(run.step_source, 40) or "n/a"),
        ("durable step", _durable(run)),
        ("work at risk", hours(run.work_at_risk_hours, run.work_unit)),
        ("ETTR", f"{ratio(run.ettr_ratio_1h, 1)} 1 h, {ratio(run.ettr_ratio, 1)} whole run"),
        ("lost to", badput or "nothing yet"),
        ("MFU", f"{ratio(run.mfu_ratio, 1)} ({run.mfu_method})"),
        ("power", _power(run)),
        ("cost", _cost(run.money)),
        ("used so far", _used(run)),
        ("GPUs", f"{run.reporting_gpu_count}/{run.gpu_count} reporting"),
        (
            "ranks",
            f"{run.alive_rank_count}/{run.rank_count} alive, "
            f"{'hook on each' if run.hooked else 'no hook'}",
        ),
        (
            "nodes",
            f"{run.reporting_node_count}/{len(run.node_names)} reporting: "
            f"{', '.join(safe(name, 40) for name in run.node_names[:4])}",
        ),
        ("watchdog", duration(run.watchdog_seconds)),
        ("checkpoint", _checkpoint_cost(run)),
        ("command", safe(run.command, 200)),
        *_scheduled(run),
    ]
    per_line = 2 if cells >= 100 else 1
    room = cells // per_line - 1
    lines: list[Line] = [head]
    rows = [pairs[index::per_line] for index in range(per_line)]
    lines += [
        tuple(span for pair in row if pair is not None for span in _pair(pair, room))
        for row in zip_longest(*rows)
    ]
    lines += _waits(run, cells)
    lines += [
        ((f"{glyphs.severities[a.severity]} {safe(a.message, 200)}", SEVERITY_STYLES[a.severity]),)
        for a in run.alerts
    ]
    return lines


def _cost(cost: Money) -> str:
    sign = cost.currency
    if not sign:
        return "n/a, the hub has no prices"
    finish = f", {money(cost.to_finish, sign, 3)} to finish (modelled)" if cost.to_finish else ""
    return f"{money(cost.per_hour, sign, 3)}/h, {money(cost.so_far, sign)} so far{finish}"


def _used(run: Run) -> str:
    """Return GPU-hours and energy, and how much of the hours the energy covers."""
    if run.gpu_hours is None:
        return "n/a"
    energy = None if run.energy_joules is None else run.energy_joules / 3_600
    covered = f" ({ratio(run.money.metered_ratio)} metered)" if energy is not None else ""
    return f"{hours(run.gpu_hours, 'GPU·h')}, {measured(energy, 'Wh')}{covered}"


def _scheduled(run: Run) -> list[tuple[str, str]]:
    """Return what a run's scheduler says of it; nothing for a run of this hub's own agents."""
    job = run.job
    if job is None:
        return []
    whole = f", part of {safe(job.part_of, 60)}" if job.part_of else ""
    quality = f", {safe(job.quality, 40)}" if job.quality else ""
    held = ", held" if job.held else ""
    requeue = "" if job.can_requeue else ", may not be requeued"
    steps = "n/a" if job.step_count is None else str(job.step_count)
    return [
        (f"{safe(run.backend, 10)} job", f"{safe(job.job_id, 40)}{whole}"),
        ("user", safe(job.user, 40) or "n/a"),
        ("queue", (safe(job.queue, 60) or "n/a") + quality),
        ("its state", f"{safe(job.state, 40)}{held}, {duration(job.age_seconds)} old"),
        ("raw priority", number(job.priority)),
        ("restarts", f"{job.restart_count}{requeue}"),
        ("its steps", steps),
    ]


def _waits(run: Run, cells: int) -> list[Line]:
    """Return why a scheduler lets it wait, or how it ended, in the scheduler's words."""
    if run.job is None or not run.job.reason:
        return []
    waits = run.state in (RunState.PENDING, RunState.PAUSED)
    label = "why it waits" if waits else "it says"
    return labelled(label, run.job.reason, cells, "warn" if waits else "plain", 14)


def _pair(pair: tuple[str, str], cells: int) -> tuple[Span, Span]:
    name, value = pair
    return (fit(name, 14), "dim"), (fit(value, cells - 14) + " ", "plain")


def _ranks(detail: RunDetail, glyphs: Glyphs) -> list[Line]:
    head = (
        "RANK  NODE                PID  STATE         STEP  STEP TIME    LOSS  SPEED     CPU"
        "    MEMORY  NICE"
    )
    lines: list[Line] = [((head, "head"),)]
    for rank in detail.ranks:
        state = _RANK_STATES.get(rank.state, "alive") if rank.alive else _exit(rank.exit)
        style = "plain" if rank.alive else "bad" if "signal" in state or "code" in state else "dim"
        slow = (rank.relative_speed_ratio or 1) < SLOW_RATIO
        speed = f"{glyphs.marks[1] if slow else ''}{ratio(rank.relative_speed_ratio)}"
        lines.append(
            (
                (f"{rank.rank:>4}  {fit(safe(rank.node_name, 40), 14)}", "plain"),
                (f"{rank.pid or '-':>9}  ", "plain"),
                (fit(state, 11), style),
                (f"{number(rank.step):>7}", "plain"),
                (f"{duration(rank.step_seconds_p50):>11}", "plain"),
                (f"{significant(rank.loss):>8}", "plain"),
                (f"{speed:>7}", "warn" if slow else "plain"),
                (f"{cores(rank.cpu_ratio):>8}", "plain"),
                (f"{bytes_(rank.resident_bytes):>10}", "plain"),
                (f"{rank.nice:>6}", "plain"),
                (f"   age {duration(rank.age_seconds)}" if rank.age_seconds > 5 else "", "old"),
            )
        )
    return lines


def _exit(end: RankExit | None) -> str:
    if end is None or not end.known:
        return "gone"
    if end.detail:
        return "not started"
    return f"signal {end.exit_signal}" if end.exit_signal else f"exit code {end.exit_code}"


def _spreads(detail: RunDetail) -> list[Line]:
    lines: list[Line] = []
    gpu_metrics = {one.metric for one in detail.place.roll_ups} if detail.place else set()
    for spread in detail.spreads:
        if spread.name in gpu_metrics:
            continue
        low, middle, high = (
            measured(value, spread.unit) for value in (spread.min, spread.median, spread.max)
        )
        where = spread.max_where if spread.worst == "max" else spread.min_where
        lines.append(
            (
                (fit(SPREAD_LABELS.get(spread.name, spread.name.replace("_", " ")), 18), "dim"),
                (f"{low:>12} {middle:>12} {high:>12}", "plain"),
                (f"   {spread.reporting_count}/{spread.count}", "dim"),
                (f"   worst: {safe(where, 60)}", "dim"),
            )
        )
    return lines


def _roll_ups(detail: RunDetail) -> list[Line]:
    """Return each metric over all of the run's GPUs, with the worst of them named."""
    lines: list[Line] = []
    for one in detail.place.roll_ups if detail.place is not None else ():
        figures = (one.min, one.median, one.p99, one.max)
        known = [measured(value, one.unit) if one.reporting_count else "n/a" for value in figures]
        worst = next(iter(one.worst), None)
        rank = f", rank {number(worst.rank)}" if worst is not None and worst.rank >= 0 else ""
        where = f"{safe(worst.node_name, 40)} GPU {worst.gpu_index}{rank}" if worst else "n/a"
        covered = one.reporting_count == one.count
        lines.append(
            (
                (fit(one.metric.replace("_", " "), 18), "dim"),
                ("".join(f"{text:>10}" for text in known), "plain"),
                (
                    f"  {number(one.reporting_count)}/{number(one.count)}",
                    "dim" if covered else "warn",
                ),
                (f"   worst: {where}", "dim"),
                (f"   age {duration(one.age_seconds)}" if one.age_seconds >= 5 else "", "old"),
            )
        )
    return lines


def _checkpoints(detail: RunDetail) -> list[Line]:
    return [
        (
            (f"step {number(one.step):>9}", "plain"),
            (f"{age(one.time_unix_ns):>9} old", "dim"),
            (f"{one.reporting_rank_count:>4}/{one.rank_count} ranks", "plain"),
            (f"{bytes_(one.size_bytes):>11}", "plain"),
            ("  on disk  " if one.on_disk else "  NOT FOUND  ", "good" if one.on_disk else "bad"),
            (safe(one.path, 160), "dim"),
        )
        for one in detail.checkpoints[:4]
    ]


def _output(detail: RunDetail) -> list[Line]:
    return [((line, "plain"),) for line in safe_lines(detail.output_tail, 8)]


def _actions(actions: Sequence[Action]) -> list[Line]:
    lines: list[Line] = []
    for action in actions[:6]:
        took = duration((action.updated_time_unix_ns - action.requested_time_unix_ns) / 1e9)
        lines.append(
            (
                (f"{clock(action.requested_time_unix_ns)}  ", "faint"),
                (fit(f"{action.verb}", 13), "plain"),
                (fit(f"{action.state}", 12), action_style(action.state)),
                (f"{took:>8}  ", "dim"),
                (f"{safe(action.operator, 24)}  ", "dim"),
                (safe(action.detail, 160), "plain"),
                (f"  [{safe(action.reason, 80)}]" if action.reason else "", "dim"),
            )
        )
    return lines


def action_style(state: ActionState) -> str:
    """Return the style in which an action's state is shown."""
    match state:
        case ActionState.OBSERVED:
            return "good"
        case ActionState.FAILED | ActionState.PARTIAL:
            return "bad"
        case ActionState.REFUSED | ActionState.UNCONFIRMED:
            return "warn"
        case _:
            return "accent"


def _events(detail: RunDetail, glyphs: Glyphs) -> list[Line]:
    return [
        (
            (f"{clock(event.time_unix_ns)}  ", "faint"),
            (f"{glyphs.severities[event.severity]} ", SEVERITY_STYLES[event.severity]),
            (safe(event.message, 200), SEVERITY_STYLES[event.severity]),
        )
        for event in detail.events[:20]
    ]
