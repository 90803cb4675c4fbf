"""What moving nodes from one run to another would change. Modelled; nothing is done.

The model is strong scaling with the global batch as it is: what the run learns from a token stays
the same, only tokens/s change. Each doubling of a run's nodes multiplies its tokens/s by twice the
parallel efficiency, so tokens/s go with nodes ** log2(2 * efficiency). That is a power law through
the pace that is measured now; Amdahl's law (1967) has the same tangent there for some serial share
and falls off sooner, so far from the present number of nodes the model is too kind. Cost and power
of a run are those of its nodes as measured now, times their number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.priority import PriorityClass
from colossus_tui.model.run import Run, RunState

EFFICIENCY = 0.9  # of a doubling
LEAST_EFFICIENCY = 0.5  # a doubling that brings nothing
HOURS_PER_DAY = 24.0
CLASSES = frozenset(member.value for member in PriorityClass)
HOLDING = (
    RunState.STARTING,
    RunState.RUNNING,
    RunState.PAUSING,
    RunState.FROZEN,
    RunState.RESUMING,
)


class MoveError(ValueError):
    """Such a move cannot be modelled; the message names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a run may expect, now or after a move; None, and 0 of a time, is not available."""

    node_count: int
    tokens_per_second: float | None
    eta_unix_ns: int
    eta_early_unix_ns: int
    eta_late_unix_ns: int
    money_per_day: float | None
    power_watts: float | None


@dataclass(frozen=True, slots=True)
class Shift:
    """One run before and after."""

    run_id: str
    before: Prospect
    after: Prospect


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a move would change. Modelled.

    Attributes:
        shifts: Every run that is not over, also those that stay as they are.
        efficiency_ratio: Parallel efficiency of a doubling that was assumed.
        node_count: Nodes that move.
        steps: What would bring it about, in order.
    """

    source: str
    target: str
    node_count: int
    efficiency_ratio: float
    currency: str
    shifts: tuple[Shift, ...]
    steps: tuple[str, ...]
    modelled: bool = True


def what_if(
    runs: Sequence[Run],
    source: str,
    target: str,
    node_count: int | None = None,
    *,
    efficiency: float = EFFICIENCY,
    now_unix_ns: int | None = None,
) -> WhatIf:
    """Return what it would change to move nodes.

    Args:
        source: Run, or class such as "P4": all its runs, in proportion to their nodes.
        target: The same.
        node_count: How many; None for all that the source has.
        efficiency: Of a doubling, 0.5 to 1.

    Raises:
        MoveError: There are no such runs or nodes.
    """
    if not LEAST_EFFICIENCY <= efficiency <= 1:
        raise MoveError(f"efficiency: {efficiency:g} is not within 0.5 and 1")
    givers, takers = _sides(runs, source, target)
    held = sum(run.node_count for run in givers)
    count = held if node_count is None else node_count
    if not 0 <= count <= held:
        raise MoveError(f"nodes: {count:,} is not within 0 and the {held:,} that {source} holds")
    given = _divided(count, [run.node_count for run in givers])
    taken = _divided(count, [run.node_count for run in takers])
    change = {run.run_id: -nodes for run, nodes in zip(givers, given, strict=True)}
    change |= {run.run_id: nodes for run, nodes in zip(takers, taken, strict=True)}
    now, exponent = now_unix_ns or time.time_ns(), math.log2(2 * efficiency)
    shown = [run for run in runs if not run.state.is_over]
    return WhatIf(
        source,
        target,
        count,
        efficiency,
        next((run.money.currency for run in shown if run.money.currency), ""),
        tuple(_shift(run, change.get(run.run_id, 0), exponent, now) for run in shown),
        _steps([(run, change[run.run_id]) for run in runs if change.get(run.run_id)]),
    )


def _sides(runs: Sequence[Run], source: str, target: str) -> tuple[list[Run], list[Run]]:
    """Return who gives and who takes; of a class all but the run on the other side."""
    givers, takers = _named(runs, "from", source), _named(runs, "to", target)
    if source in CLASSES:
        givers = [run for run in givers if run not in takers]
    if target in CLASSES:
        takers = [run for run in takers if run not in givers]
    if source == target or not givers or not takers:
        raise MoveError(f"to: nothing moves from {source} to {target}; name another run or class")
    return givers, takers


def _named(runs: Sequence[Run], field: str, name: str) -> list[Run]:
    found = [run for run in runs if run.run_id == name]
    if not found:
        found = [r for r in runs if r.priority_class.value == name and _holds(r)]
        if not found and name in CLASSES:
            raise MoveError(f"{field}: no run of class {name} holds a node now")
    if not found:
        raise MoveError(f"{field}: there is no run and no class {name!r}")
    if not _holds(found[0]):
        raise MoveError(
            f"{field}: {name} is {found[0].state} and holds no node; what it would do with some is "
            "not known"
        )
    return found


def _holds(run: Run) -> bool:
    return run.state in HOLDING and run.node_count > 0


def _divided(total: int, shares: Sequence[int]) -> list[int]:
    """Divide nodes in proportion, the largest remainders first; no share gets more than it is.

    That is so as long as the total is no more than the shares' sum; else all grow alike.
    """
    whole = sum(shares)
    parts = [total * share // whole for share in shares]
    order = sorted(range(len(shares)), key=lambda at: -(total * shares[at] % whole))
    for at in order[: total - sum(parts)]:
        parts[at] += 1
    return parts


def _shift(run: Run, change: int, exponent: float, now: int) -> Shift:
    per_hour = run.money.per_hour
    before = Prospect(
        run.node_count,
        run.tokens_per_second,
        run.eta_unix_ns,
        run.eta_early_unix_ns,
        run.eta_late_unix_ns,
        None if per_hour is None else per_hour * HOURS_PER_DAY,
        run.power_watts,
    )
    if not change:
        return Shift(run.run_id, before, before)
    nodes = run.node_count + change
    share = nodes / run.node_count
    pace = share**exponent

    def end(unix_ns: int) -> int:
        return now + int(max(unix_ns - now, 0) / pace) if unix_ns and pace else 0

    after = Prospect(
        nodes,
        _times(before.tokens_per_second, pace),
        end(before.eta_unix_ns),
        end(before.eta_early_unix_ns),
        end(before.eta_late_unix_ns),
        _times(before.money_per_day, share),
        _times(before.power_watts, share),
    )
    return Shift(run.run_id, before, after)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _steps(moves: Sequence[tuple[Run, int]]) -> tuple[str, ...]:
    """Return what brings it about: each run saves and ends, gets its new size, and goes on."""
    if not moves:
        return ()
    resized = [(run, run.node_count + change) for run, change in moves if run.node_count + change]
    names = " ".join(run.run_id for run, _ in moves)
    steps = [f"colossus pause {names}"]
    steps += [_resize(run, nodes) for run, nodes in resized]
    if resized:
        steps.append(f"colossus resume {' '.join(run.run_id for run, _ in resized)}")
    return tuple(steps)


def _resize(run: Run, nodes: int) -> str:
    match run.backend:
        case "slurm":
            job = run.job.job_id if run.job is not None else "JOB"
            return f"scontrol update JobId={job} NumNodes={nodes}"
        case "kubernetes":
            return f"set the parallelism of {run.run_id} for {nodes:,} nodes"
        case _:
            return f"give {run.run_id} {nodes:,} nodes where it is started"
