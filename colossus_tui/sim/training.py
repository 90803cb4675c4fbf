"""The runs of a site as gangs: their steps, losses, checkpoints and what ends them.

A gang's ranks move together. Time comes in with each tick; nothing here reads a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_tui.sim.catalogue import RunPlan
from colossus_tui.sim.noise import Noise
from colossus_tui.sim.physics import Mode
from colossus_tui.sim.ranks import End, Ranks
from colossus_tui.sim.reports import Checkpoints, Progress, Steps

EXCHANGE_DONE, EXCHANGE_PACE = 0.88, 0.85  # near a step's end gradients are exchanged
STEP_SPREAD, RANK_SPREAD = 0.008, 0.004  # of a step's time: from step to step, rank to rank


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Loading, or saving, that goes on until a time."""

    until_ns: int
    begun_ns: int
    acting: npt.NDArray[np.bool_] | None = None  # None: loading
    exits: bool = False

    def later(self, delay_ns: int) -> _Work:
        """Return it as it is after a stop."""
        return _Work(self.until_ns + delay_ns, self.begun_ns, self.acting, self.exits)


def mean_loss(run: RunPlan, step: int) -> float:
    """Return the loss that a run comes to by a step, without its noise."""
    seen = 0.001 + step * run.tokens_per_step / run.target_tokens
    return 1.6 + 0.6 * math.pow(seen, -0.35)


class Gang(Ranks):
    """One run over its nodes.

    Attributes:
        attempt: The attempt that its steps belong to.
        step: Last finished step.
        durable_step: Last step that every rank has saved.
        durable_ns: When it was saved, Unix nanoseconds.
        start_id: Tells it from an earlier run of the same name.
        ranks_per_node: One a GPU.
    """

    def __init__(self, run: RunPlan, index: int, noise: Noise, now_ns: int) -> None:
        super().__init__(run.node_count, run.first_step, run.priority_class)
        self.run = run
        self.start_id = f"modelled-{run.run_id}"
        self.ranks_per_node = run.rank_count // run.node_count
        self._index = index
        self._noise = noise
        self.attempt = 1
        self.step = self.durable_step = run.first_step
        self._done_ratio = index * 0.37 % 1  # of the step in flight; not all runs in one
        plan_ns = int(run.checkpoint_plan_seconds * 1e9)
        self.durable_ns = now_ns - int(plan_ns * (index * 0.29 % 1))
        self._clock_ns = self._reached_ns = now_ns
        self._work: _Work | None = None
        self._hung_until_ns = 0
        self._waits = False
        self.is_checkpoint_wanted = False
        self._ranks = np.arange(run.rank_count, dtype=np.int32)

    def hang(self, until_ns: int) -> None:
        """Let every rank wait in a collective that does not end."""
        self._hung_until_ns = until_ns

    # --- what is asked of it ---------------------------------------------------------------

    def step_of(self, node: int) -> int:
        """Return the last finished step of a node's ranks."""
        is_current = self._begun and self.attempts[node] == self.attempt
        return self.step if is_current else int(self._resume_step[node])

    def modes(self, out: npt.NDArray[np.uint8]) -> None:
        """Write what the ranks of each node do now."""
        if self.is_together():
            out[:] = self._mode()
            return
        out[:] = Mode.WAITING
        out[self.fuse_ns > 0] = Mode.FROZEN
        out[~self.alive] = Mode.IDLE

    def pace(self, slowest: float) -> float:
        """Return at what share of full speed its GPUs compute now."""
        return slowest * (EXCHANGE_PACE if self._done_ratio > EXCHANGE_DONE else 1.0)

    def is_together(self) -> bool:
        """Whether all its ranks are there and move."""
        if self._together is None:
            self._together = bool(
                self._begun
                and self.alive.all()
                and not self.lost.any()
                and not self.fuse_ns.any()
                and (self.attempts == self.attempt).all()
            )
        return self._together

    def path_template(self, step: int) -> str:
        """Return where a step's checkpoint is, with a place for `rank`."""
        return f"/scratch/{self.run.run_id}/step-{step}/rank-{{rank}}"

    def _mode(self) -> Mode:
        if self._hung_until_ns > self._clock_ns or self._waits:
            return Mode.WAITING
        if self._work is None:
            return Mode.BUSY
        return Mode.LOADING if self._work.acting is None else Mode.SAVING

    # --- a tick ----------------------------------------------------------------------------

    def advance(self, now_ns: int, slowest: float, paces: npt.NDArray[np.float32]) -> Progress:
        """Go on until now.

        Args:
            slowest: The lowest pace of its GPUs, 1 at full speed.
            paces: [rank], each rank's.
        """
        out = Progress()
        self._blow_fuses(now_ns, out)
        self._restart(now_ns, out)
        self._begin()
        self._waits = False
        at_ns = self._clock_ns
        while at_ns < now_ns:
            if not self.is_together():
                at_ns = self._stand(at_ns, now_ns)
            elif self._hung_until_ns > at_ns:
                at_ns = self._stand(at_ns, min(now_ns, self._hung_until_ns))
            elif self._work is not None:
                at_ns = self._go_on(self._work, now_ns, out)
            elif self.promises.gate_step <= self.step:
                at_ns = self._wait(at_ns, now_ns)
            else:
                at_ns = self._compute(at_ns, now_ns, slowest, paces, out)
        self._clock_ns = now_ns
        return out

    def _blow_fuses(self, now_ns: int, out: Progress) -> None:
        blown = np.flatnonzero((self.fuse_ns > 0) & (self.fuse_ns <= now_ns))
        if blown.size:
            self.fuse_ns[blown] = 0
            self._together = None
            out.changed.append(blown)
            out.thawed += blown.tolist()

    def _restart(self, now_ns: int, out: Progress) -> None:
        """Begin the next attempt once every lost node is back, unless somebody ended the run."""
        if self.lost.any() or not self._orphaned.any():
            return
        goes_on = bool((self.alive | self._orphaned).all())
        self._orphaned[:] = False
        if not goes_on:
            return
        self.attempts[:] = self.attempts.max() + 1
        self.alive[:], self.end[:], self.fuse_ns[:] = True, End.NONE, 0
        self._resume_step[:] = self.durable_step
        self._begun, self._clock_ns = False, now_ns
        out.changed.append(np.arange(self.run.node_count))

    def _begin(self) -> None:
        """Begin an attempt that every node has started."""
        if self._begun or not self.alive.all() or self.lost.any():
            return
        if self.attempts.min() != self.attempts.max():
            return
        now_ns = self._clock_ns
        self.attempt = int(self.attempts[0])
        self.step = int(self._resume_step.min())
        if self.attempt == 1 or self.step < self.durable_step:
            self.durable_step, self.durable_ns = self.step, now_ns
        self._begun, self._together, self._done_ratio = True, None, 0.0
        self._hung_until_ns = 0
        self.promises.clear()
        self._work = _Work(now_ns + int(self.run.load_seconds * 1e9), now_ns)

    def _stand(self, at_ns: int, until_ns: int) -> int:
        """Let time pass in which nothing is done."""
        if self._work is not None:
            self._work = self._work.later(until_ns - at_ns)
        return until_ns

    def _go_on(self, work: _Work, now_ns: int, out: Progress) -> int:
        """Load or save until it is done, or now."""
        if work.until_ns > now_ns:
            return now_ns
        self._work = None
        if work.acting is None:
            self._reached_ns = work.until_ns
        else:
            self._saved(work, work.acting & self.alive, out)
        return work.until_ns

    def _wait(self, at_ns: int, now_ns: int) -> int:
        """Wait at a promised step, until the promise binds or is void."""
        settled = self.promises.settle(self._reached_ns, now_ns)
        if settled is None:
            self._waits = True
            return now_ns
        left_ns, acting, exits = settled
        left_ns = max(left_ns, at_ns)
        if acting.any():
            self._save(left_ns, acting, exits=exits)
        return left_ns

    def _compute(
        self,
        at_ns: int,
        now_ns: int,
        slowest: float,
        paces: npt.NDArray[np.float32],
        out: Progress,
    ) -> int:
        """Compute until the step is finished, or now."""
        spread = STEP_SPREAD * self._noise.one(self.step, self._index)
        seconds = self.run.step_seconds * (1 + spread)
        left_seconds = max(0.0, 1 - self._done_ratio) * seconds / slowest
        end_ns = at_ns + int(left_seconds * 1e9)
        if end_ns > now_ns:
            self._done_ratio += (now_ns - at_ns) / 1e9 * slowest / seconds
            return now_ns
        self.step += 1
        self._done_ratio, self._reached_ns = 0.0, end_ns
        out.steps.append(self._report(end_ns, seconds / paces))
        is_due = end_ns - self.durable_ns >= self.run.checkpoint_plan_seconds * 1e9
        if (is_due or self.is_checkpoint_wanted) and self.promises.gate_step > self.step:
            self._save(end_ns, np.ones_like(self.alive))
        return end_ns

    def _save(self, at_ns: int, acting: npt.NDArray[np.bool_], *, exits: bool = False) -> None:
        self.is_checkpoint_wanted = False
        until_ns = at_ns + int(self.run.save_seconds * 1e9)
        self._work = _Work(until_ns, at_ns, acting, exits)

    def _saved(self, work: _Work, acting: npt.NDArray[np.bool_], out: Progress) -> None:
        ranks = self._ranks[np.repeat(acting, self.ranks_per_node)]
        early = self._jitter(len(ranks), 9) * int(min(5e8, self.run.save_seconds * 5e7))
        times = work.until_ns - early.astype(np.int64)
        out.checkpoints.append(
            Checkpoints(
                run_id=self.run.run_id,
                attempt=self.attempt,
                ranks=ranks,
                step=self.step,
                times_unix_ns=times,
                size_bytes=self.run.checkpoint_bytes,
                path_template=self.path_template(self.step),
                save_seconds=(times - work.begun_ns) / 1e9,
            )
        )
        if acting.all():
            self.durable_step, self.durable_ns = self.step, work.until_ns
        if work.exits:
            for node in np.flatnonzero(acting).tolist():
                self.kill(node, End.EXITED)
            out.changed.append(np.flatnonzero(acting))

    def _jitter(self, count: int, column: int) -> npt.NDArray[np.float32]:
        """Return numbers from 0 to 1 that are the same for the same step."""
        distance: npt.NDArray[np.float32] = np.abs(
            self._noise.read(count, self.step, column, self._index)
        )
        return distance / np.float32(3.5)

    def _report(self, end_ns: int, own_seconds: npt.NDArray[np.float32]) -> Steps:
        run, count = self.run, self.run.rank_count
        noise = self._noise.read(count, self.step, 7, self._index)
        loss = mean_loss(run, self.step) + 0.006 * self._noise.one(self.step, 3)
        norm = 0.32 * (1 + 0.12 * self._noise.one(self.step, 4))
        return Steps(
            run_id=run.run_id,
            attempt=self.attempt,
            ranks=self._ranks,
            steps=np.full(count, self.step, np.int64),
            times_unix_ns=end_ns - (self._jitter(count, 8) * 2e6).astype(np.int64),
            losses=loss * (1 + 0.004 * noise.astype(np.float64)),
            grad_norms=np.full(count, norm),
            tokens=np.full(count, run.tokens_per_step // count, np.int64),
            step_seconds=own_seconds.astype(np.float64)
            * (1 - RANK_SPREAD * self._jitter(count, 6)),
        )
