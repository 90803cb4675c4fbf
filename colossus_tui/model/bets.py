"""What decides between runs: what each brings for money, energy and GPUs, and when it ends."""

from __future__ import annotations

from colossus_tui.model.curve import training_flop
from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.priority import PriorityClass
from colossus_tui.model.run import Run, RunState

JOULES_PER_MEGAWATT_HOUR = 3.6e9


@dataclass(frozen=True, slots=True)
class Bet:
    """One run as it is compared with others; rates are those of now, None is not available.

    Attributes:
        tokens_per_money: Tokens for one unit of the currency.
        tokens_per_megawatt_hour: Of its GPUs' energy.
        training_flop: 6 a parameter and token, so far.
        progress_ratio: Of its target, 0 to 1.
        late_seconds: Expected end after the planned one; negative is early.
        work_at_risk_hours: In `work_unit`.
    """

    run_id: str
    state: RunState
    priority_class: PriorityClass
    loss: float | None
    tokens: int | None
    training_flop: float | None
    tokens_per_second: float | None
    currency: str
    tokens_per_money: float | None
    tokens_per_megawatt_hour: float | None
    tokens_per_gpu_hour: float | None
    progress_ratio: float | None
    eta_unix_ns: int
    eta_early_unix_ns: int
    eta_late_unix_ns: int
    planned_end_unix_ns: int
    late_seconds: float | None
    ettr_ratio: float | None
    mfu_ratio: float | None
    work_at_risk_hours: float | None
    work_unit: str


def bet_of(run: Run) -> Bet:
    """Return what decides about a run."""
    price, energy, rate = run.money.per_billion_tokens, run.joules_per_token, run.tokens_per_second
    return Bet(
        run_id=run.run_id,
        state=run.state,
        priority_class=run.priority_class,
        loss=run.loss,
        tokens=run.tokens,
        training_flop=training_flop(run.parameters_count, run.tokens) if run.tokens else None,
        tokens_per_second=rate,
        currency=run.money.currency,
        tokens_per_money=1e9 / price if price else None,
        tokens_per_megawatt_hour=JOULES_PER_MEGAWATT_HOUR / energy if energy else None,
        tokens_per_gpu_hour=rate * 3_600 / run.gpu_count if rate and run.gpu_count else None,
        progress_ratio=progress_ratio(run),
        eta_unix_ns=run.eta_unix_ns,
        eta_early_unix_ns=run.eta_early_unix_ns,
        eta_late_unix_ns=run.eta_late_unix_ns,
        planned_end_unix_ns=run.planned_end_unix_ns,
        late_seconds=late_seconds(run),
        ettr_ratio=run.ettr_ratio,
        mfu_ratio=run.mfu_ratio,
        work_at_risk_hours=run.work_at_risk_hours,
        work_unit=run.work_unit,
    )


def progress_ratio(run: Run) -> float | None:
    """Return how much of its target a run has done; None where it has none."""
    for done, target in (run.step, run.target_steps), (run.tokens, run.target_tokens):
        if done is not None and target:
            return min(done / target, 1.0)
    return None


def late_seconds(run: Run) -> float | None:
    """Return how long after the planned end the expected one is; None where one is not known."""
    if not (run.eta_unix_ns and run.planned_end_unix_ns):
        return None
    return (run.eta_unix_ns - run.planned_end_unix_ns) / 1e9
