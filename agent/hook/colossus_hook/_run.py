"""The hook's public face: `Run` and `Verdict`."""

from __future__ import annotations

import enum
import math
import mmap
import os
import struct
import time
import weakref
from types import TracebackType

from colossus_hook import page as layout
from colossus_hook import placement

_POLL_SECONDS = 0.0005  # while a rank waits at the agreed step for the commit
_NAN = math.nan


class Verdict(enum.Enum):
    """What a rank has to do after a step; the same for every rank at the same step."""

    NONE = 0
    CHECKPOINT = 1
    PAUSE = 2


_NONE = Verdict.NONE
_VERDICTS = {layout.VERB_CHECKPOINT: Verdict.CHECKPOINT, layout.VERB_PAUSE: Verdict.PAUSE}
_STANDING = (layout.PHASE_PREPARED, layout.PHASE_READY, layout.PHASE_COMMITTED)
_live: weakref.WeakSet[Run] = weakref.WeakSet()


class Run:
    """One rank of a run, as its training loop sees it.

    Get one with `Run.from_env()`. Without an agent, or when anything is wrong with the page, it is
    inactive: every call returns at once and does nothing. Use it from one thread.

    Attributes:
        run_id, attempt: As the agent set them; "" and 1 without one.
        rank, local_rank, world_size: As colossus run, torchrun or srun set them; else 0, 0 and 1.
        durable_step: Step of the checkpoint to go on from; 0 on a fresh start.
        durable_path: That checkpoint's path, as this rank reported it; None on a fresh start.
    """

    def __init__(self, facts: dict[str, float]) -> None:
        environment = os.environ
        place = placement.find(environment, os.getuid())
        self.run_id, self.attempt = place.run_id, place.attempt
        self.rank, self.local_rank = place.rank, place.local_rank
        self.world_size = place.world_size
        self.durable_step = placement.number(environment.get("COLOSSUS_DURABLE_STEP"), 0)
        self.durable_path = environment.get("COLOSSUS_DURABLE_PATH") or None
        self._page: mmap.mmap | None = None
        self._count = 0
        self._checkpoint_count = 0
        self._serial = b"\0" * 8
        self._last_time = time.perf_counter_ns()
        self._last_step = layout.NOT_GIVEN
        self._expired = 0  # agreement that this rank gave up; never obeyed, even when committed
        if place.folder:
            self._open(place, facts)

    @classmethod
    def from_env(
        cls,
        *,
        parameters: int | None = None,
        target_steps: int | None = None,
        target_tokens: int | None = None,
        earlier_tokens: int | None = None,
        watchdog_seconds: float | None = None,
        checkpoint_plan_seconds: float | None = None,
    ) -> Run:
        """Return this process's rank, from the environment that the agent gave it.

        Args:
            parameters: Parameters of the model, for MFU and the estimate of a save.
            target_steps: Step at which the run is done.
            target_tokens: Tokens after which the run is done.
            earlier_tokens: Tokens that the model had seen before this run's first step, as of a run
                that began elsewhere; not those of the run's own attempts before.
            watchdog_seconds: The loop's own hang detector; no freeze will outlast it.
            checkpoint_plan_seconds: Intended time between two checkpoints.
        """
        facts = {
            "parameters_count": parameters,
            "target_steps": target_steps,
            "target_tokens": target_tokens,
            "earlier_tokens": earlier_tokens,
            "watchdog_seconds": watchdog_seconds,
            "checkpoint_plan_seconds": checkpoint_plan_seconds,
        }
        return cls({name: value for name, value in facts.items() if value is not None})

    def _open(self, place: placement.Placement, facts: dict[str, float]) -> None:
        identity = layout.Identity(
            os.getpid(),
            _own_start_time(),
            self.rank,
            self.local_rank,
            self.world_size,
            self.attempt,
            time.time_ns(),
            self.run_id,
        )
        try:
            if not place.is_made:
                placement.make_folder(place.folder, os.getuid())
            self._page = layout.create(
                os.path.join(place.folder, f"rank-{self.rank}.page"), identity, facts
            )
        except (OSError, ValueError, OverflowError):
            self._page = None  # training must not fail because its monitor cannot be reached
            return
        _live.add(self)

    @property
    def active(self) -> bool:
        """Whether an agent can see this rank."""
        return self._page is not None

    def step(
        self,
        step: int,
        *,
        loss: float = _NAN,
        tokens: int = layout.NOT_GIVEN,
        grad_norm: float = _NAN,
    ) -> Verdict:
        """Report a finished step and return what to do now.

        Args:
            step: Number of the step just finished; grows by one.
            loss: Its loss on this rank.
            tokens: Tokens that this rank consumed since the step before.
            grad_norm: Norm of the gradient.
        """
        page = self._page
        if page is None:
            return _NONE
        now = time.perf_counter_ns()
        seconds = (now - self._last_time) * 1e-9
        self._last_time = now
        count = self._count
        try:
            layout.STEP.pack_into(
                page,
                layout.STEPS_OFFSET + count % layout.STEPS_CAPACITY * layout.STEP.size,
                step,
                time.time_ns(),
                tokens,
                loss,
                grad_norm,
                seconds,
            )
            self._count = count = count + 1
            self._last_step = step
            layout.COUNTER.pack_into(page, layout.STEP_COUNT_OFFSET, count)
            layout.COUNTER.pack_into(page, layout.CURRENT_STEP_OFFSET, step)
            serial = page[layout.SERIAL_OFFSET : layout.SERIAL_OFFSET + 8]
        except (ValueError, TypeError, struct.error):
            return _NONE  # a number that does not fit is not worth a training run
        if serial == self._serial:
            return _NONE
        return self._obey(page, step)

    def _obey(self, page: mmap.mmap, step: int) -> Verdict:
        """Follow the order in the page once this rank has reached its step."""
        deadline = 0
        while True:
            read = layout.read_order(page)
            if read is not None:
                serial, order = read
                if order.agreement == self._expired or order.phase not in _STANDING:
                    if order.agreement != self._expired:
                        self._answer(page, serial, order, layout.ACTED_ABORTED)
                    self._serial = layout.COUNTER.pack(serial)
                    return _NONE
                if step < order.step:
                    return _NONE  # not yet: look again after the next step
                now = time.monotonic_ns()
                deadline = deadline or now + min(order.hold_ns, 60_000_000_000)
                in_vain = now >= deadline
                if order.phase == layout.PHASE_COMMITTED or (
                    in_vain and order.phase == layout.PHASE_READY
                ):
                    self._answer(page, serial, order._replace(step=step), layout.ACTED_DONE)
                    return _VERDICTS.get(order.verb, _NONE)
                if in_vain:
                    self._expired = order.agreement
                    self._answer(page, serial, order, layout.ACTED_EXPIRED)
                    return _NONE
            time.sleep(_POLL_SECONDS)

    def _answer(self, page: mmap.mmap, serial: int, order: layout.Order, state: int) -> None:
        layout.ACTED.pack_into(page, layout.ACTED_OFFSET, order.agreement, order.step, state)
        self._serial = layout.COUNTER.pack(serial)
        self._last_time = time.perf_counter_ns()

    def checkpointed(
        self,
        step: int,
        path: str | os.PathLike[str],
        size_bytes: int = layout.NOT_GIVEN,
    ) -> None:
        """Say that this rank's part of the checkpoint of `step` is safe on disk.

        Every rank calls it; a step is durable once all have. Called for the step just reported, the
        time since then is how long the save took, and counts in no step.

        Args:
            step: Step that the checkpoint holds.
            path: This rank's part: a file or folder on this node.
            size_bytes: Size of the part.
        """
        page = self._page
        if page is None:
            return
        text = os.fsencode(os.path.abspath(os.fspath(path)))[:1022]
        now, seconds = time.perf_counter_ns(), _NAN
        if step == self._last_step:
            seconds, self._last_time = (now - self._last_time) * 1e-9, now
            self._last_step = layout.NOT_GIVEN
        count = self._checkpoint_count
        offset = layout.CHECKPOINTS_OFFSET + (
            count % layout.CHECKPOINTS_CAPACITY * layout.CHECKPOINT.size
        )
        try:
            layout.CHECKPOINT.pack_into(
                page, offset, step, time.time_ns(), size_bytes, seconds, len(text), text
            )
            self._checkpoint_count = count + 1
            layout.COUNTER.pack_into(page, layout.CHECKPOINT_COUNT_OFFSET, count + 1)
        except (ValueError, TypeError, struct.error):
            return

    def close(self) -> None:
        """Stop reporting; the page stays for the agent to read."""
        self._page = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _own_start_time() -> int:
    try:
        return layout.start_time_ticks(os.getpid())
    except (OSError, ValueError, IndexError):
        return 0


def _disable_in_child() -> None:
    # A forked data loader worker must not speak as the rank.
    for run in list(_live):
        run.close()


os.register_at_fork(after_in_child=_disable_in_child)
