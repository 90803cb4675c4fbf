"""Choosing runs by what they are: `class>=P3 state=running gpus>64 imagine`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from colossus_tui.model.bets import late_seconds, progress_ratio
from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.match.expression import EVERYTHING, Expression, holds, names
from colossus_tui.model.match.fields import RUN_FIELDS
from colossus_tui.model.match.parser import read
from colossus_tui.model.run import Run

FIELDS = tuple(RUN_FIELDS)
_TEXTS: dict[str, Callable[[Run], tuple[str, ...]]] = {
    "class": lambda run: (run.priority_class.value,),
    "state": lambda run: (run.state.value,),
    "backend": lambda run: (run.backend,),
    "run": lambda run: (run.run_id,),
    "label": lambda run: (run.label,),
    "node": lambda run: run.node_names,
    "user": lambda run: (run.job.user if run.job else "",),
    "queue": lambda run: (run.job.queue if run.job else "",),
}
_NUMBERS: dict[str, Callable[[Run], float | None]] = {
    "gpus": lambda run: run.gpu_count,
    "nodes": lambda run: len(run.node_names),
    "ranks": lambda run: run.rank_count,
    "step": lambda run: run.step,
    "loss": lambda run: run.loss,
    "cost": lambda run: run.money.per_hour,
    "risk": lambda run: run.work_at_risk_hours,
    "done": progress_ratio,
    "late": late_seconds,
    "ettr": lambda run: run.ettr_ratio,
    "mfu": lambda run: run.mfu_ratio,
    "alerts": lambda run: len(run.alerts),
}


@dataclass(frozen=True, slots=True)
class _RunRow:
    run: Run

    def number(self, field: str) -> float | None:
        return _NUMBERS[field](self.run)

    def texts(self, field: str) -> Sequence[str]:
        return _TEXTS[field](self.run)

    def words(self) -> Sequence[str]:
        return self.run.run_id, self.run.label, self.run.command


@dataclass(frozen=True, slots=True)
class Match:
    """A checked expression over runs; one without terms means every run.

    A bare word is a piece of the run's name, label or command.
    """

    expression: Expression = EVERYTHING

    def __call__(self, run: Run) -> bool:
        """Return whether the run is meant."""
        return holds(self.expression, _RunRow(run))

    def __str__(self) -> str:
        return str(self.expression)

    def names(self, field: str) -> bool:
        """Return whether one of its terms is about this field."""
        return names(self.expression, field)


def parse(text: str) -> Match:
    """Return the checked expression over runs; an empty one means every run.

    Raises:
        MatchError: A term is wrong.
    """
    return Match(read(text, RUN_FIELDS))
