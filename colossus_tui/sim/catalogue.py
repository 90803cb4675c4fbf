"""The seven models that a simulated site trains, and what each is on a number of GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass

LABEL = "modelled"
SITE_NODE_COUNT = 137_500  # the site that the step times below are of
PEAK_BF16_FLOPS = 2.5e15  # of one GPU
CHECKPOINT_BYTES_PER_PARAMETER = 14
CHECKPOINT_BYTES_LIMIT = 96 << 30  # of one rank
WATCHDOG_SECONDS = 600.0
GPU_HOURS_BETWEEN_LOSSES = 50_000.0  # of a node
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run on its nodes, which follow one another; one rank a GPU, in the nodes' order.

    Attributes:
        first_step: Where it is when the simulation begins; that step is durable.
        checkpoint_bytes: Of one rank.
        save_seconds: What a checkpoint takes.
        load_seconds: From an attempt's start to its first step.
        tensor_ratio: Tensor activity of its GPUs at full speed.
    """

    run_id: str
    label: str
    priority_class: str
    first_node: int
    node_count: int
    rank_count: int
    parameters_count: int
    target_tokens: int
    tokens_per_step: int
    step_seconds: float
    first_step: int
    checkpoint_plan_seconds: float
    save_seconds: float
    load_seconds: float
    checkpoint_bytes: int
    tensor_ratio: float
    watchdog_seconds: float = WATCHDOG_SECONDS

    @property
    def target_steps(self) -> int:
        """The step at which it has seen its tokens."""
        return -(-self.target_tokens // self.tokens_per_step)


@dataclass(frozen=True, slots=True)
class Model:
    """One model, wherever it is trained.

    Attributes:
        share: Of the site's nodes.
        step_seconds: At the site's full size.
        days: How long it trains on its share.
        done_ratio: How much of that has passed when the simulation begins.
    """

    run_id: str
    share: float
    parameters_count: int
    step_seconds: float
    mfu_ratio: float
    days: float
    done_ratio: float
    priority_class: str

    def on(self, first_node: int, node_count: int, rank_count: int, scale: float) -> RunPlan:
        """Return its run on nodes of a site.

        Args:
            scale: Of the step's time, 1 at full size.
        """
        step_seconds = self.step_seconds * scale
        rate = self.mfu_ratio * PEAK_BF16_FLOPS / (6 * self.parameters_count)  # tokens/s of a GPU
        tokens_per_step = max(1, round(rate * step_seconds)) * rank_count
        target_tokens = int(tokens_per_step / step_seconds * self.days * DAY_SECONDS)
        save_seconds = min(15.0, max(2.0, 0.35 * step_seconds))
        size = CHECKPOINT_BYTES_PER_PARAMETER * self.parameters_count // rank_count
        return RunPlan(
            run_id=self.run_id,
            label=LABEL,
            priority_class=self.priority_class,
            first_node=first_node,
            node_count=node_count,
            rank_count=rank_count,
            parameters_count=self.parameters_count,
            target_tokens=target_tokens,
            tokens_per_step=tokens_per_step,
            step_seconds=step_seconds,
            first_step=int(target_tokens * self.done_ratio / tokens_per_step),
            checkpoint_plan_seconds=_plan_seconds(rank_count, save_seconds, step_seconds),
            save_seconds=save_seconds,
            load_seconds=min(30.0, max(2.0, step_seconds)),
            checkpoint_bytes=min(size, CHECKPOINT_BYTES_LIMIT),
            tensor_ratio=0.42 + 0.3 * self.mfu_ratio,
        )


def _plan_seconds(rank_count: int, save_seconds: float, step_seconds: float) -> float:
    """Return how often to save so that saving and redoing cost least together, as Young has it."""
    between_losses = GPU_HOURS_BETWEEN_LOSSES * 3600 / rank_count
    best = math.sqrt(2 * save_seconds * between_losses)
    return float(round(max(120.0, min(1800.0, 40 * step_seconds, best))))


MODELS = (
    Model("imagine-v2", 0.08, 90_000_000_000, 5.5, 0.36, 60, 0.71, "P1"),
    Model("1t-a", 0.06, 1_000_000_000_000, 8.0, 0.43, 75, 0.55, "P2"),
    Model("1t-b", 0.06, 1_000_000_000_000, 8.4, 0.42, 75, 0.18, "P3"),
    Model("1.5t-a", 0.09, 1_500_000_000_000, 11.0, 0.42, 90, 0.62, "P1"),
    Model("1.5t-b", 0.09, 1_500_000_000_000, 11.6, 0.41, 90, 0.09, "P2"),
    Model("6t", 0.24, 6_000_000_000_000, 24.0, 0.40, 140, 0.34, "P1"),
    Model("10t", 0.36, 10_000_000_000_000, 38.0, 0.38, 180, 0.22, "P0"),
)
