"""How a run learned, and what it took."""

from __future__ import annotations

from colossus_tui.model.dataclass import dataclass

FLOP_PER_PARAMETER_AND_TOKEN = 6


@dataclass(frozen=True, slots=True)
class Curve:
    """A run's loss against its tokens; meanings as in curve.proto, all tuples of one length."""

    run_id: str
    tokens: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    times_unix_ns: tuple[int, ...] = ()


def training_flop(parameters_count: int | None, tokens: float) -> float | None:
    """Return the floating point operations of training on so many tokens; None without a size.

    6 a parameter and token: forward pass 2, backward pass 4 (Kaplan et al. 2020, arXiv:2001.08361,
    section 2.1). Of a sparse model the parameters are those that one token meets.
    """
    if not parameters_count:
        return None
    return float(FLOP_PER_PARAMETER_AND_TOKEN) * parameters_count * tokens
