"""What the devices of a site measure: activity, clocks, power and heat of every GPU, once a tick.

All GPUs are computed in blocks that fit a core's cache, into arrays that are used again.
"""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from colossus_tui.sim.noise import Noise
from colossus_tui.sim.plan import IDLE_WATTS, SitePlan

Floats = npt.NDArray[np.float32]
GPU_COLUMNS = (  # DCGM field id, name and unit, as an agent tells them
    (150, "gpu_temperature", "C"),
    (140, "memory_temperature", "C"),
    (155, "power", "W"),
    (156, "energy", "J"),
    (100, "sm_clock", "MHz"),
    (203, "gpu_utilisation", "ratio"),
    (252, "memory_used", "B"),
    (112, "clock_event_reasons", "mask"),
    (230, "xid", "code"),
    (1002, "sm_active", "ratio"),
    (1004, "tensor_active", "ratio"),
    (1005, "dram_active", "ratio"),
)
HOST_COLUMNS = (
    (10000, "cpu_utilisation", "ratio"),
    (10001, "memory_used", "B"),
    (10002, "memory_total", "B"),
    (10003, "load_1m", "count"),
)
GPU_MEMORY_BYTES = 192 << 30
HOST_MEMORY_BYTES = 1 << 40
HOST_CORES = 144
LIMIT_WATTS, LOWEST_LIMIT_WATTS = 1200.0, 300.0
CLOCK_MHZ, IDLE_CLOCK_MHZ, CLOCK_STEP_MHZ = 1980.0, 345.0, 15.0
INLET_CELSIUS = 30.0
CELSIUS_PER_WATT = 0.032
WARM_SECONDS = 20.0  # in which a GPU comes 63 % nearer to the heat of its power
SLOW_CELSIUS, HALT_CELSIUS = 85.0, 95.0  # software and hardware slow the clock down
SLOW_RATIO_PER_CELSIUS = 0.03
IDLE_REASON, POWER_REASON, HEAT_REASON, HALT_REASON = 0x1, 0x4, 0x20, 0x40
# Watts at full clock and ratio 1 of utilisation, SM and tensor activity; about 1,000 W when busy.
UTILISATION_WATTS, SM_WATTS, TENSOR_WATTS = 190.0, 250.0, 800.0
SM_SPAN, DRAM_SPAN = 0.74, 0.42  # how much computing adds to what waiting does
BLOCK = 8192
_SECONDS_LIMIT = 12.0  # of one step of heat: a longer one would overshoot


class Mode(IntEnum):
    """What the ranks of a node do."""

    IDLE = 0  # none is there
    BUSY = 1
    WAITING = 2  # in a collective that does not end
    SAVING = 3
    FROZEN = 4
    LOADING = 5


# By mode: utilisation, SM activity, DRAM activity, clock, memory, processor.
_PROFILE = np.array(
    [
        [0.00, 0.00, 0.00, IDLE_CLOCK_MHZ / CLOCK_MHZ, 5e6 / GPU_MEMORY_BYTES, 0.01],
        [0.99, 0.18, 0.04, 1.0, 0.78, 0.22],
        [1.00, 0.18, 0.04, 1.0, 0.78, 0.16],
        [0.55, 0.08, 0.30, 1.0, 0.78, 0.45],
        [0.00, 0.00, 0.00, IDLE_CLOCK_MHZ / CLOCK_MHZ, 0.78, 0.01],
        [0.30, 0.05, 0.20, 1.0, 0.60, 0.35],
    ],
    np.float32,
)
_COLUMN = {name: column for column, (_, name, _) in enumerate(GPU_COLUMNS)}


class Physics:
    """All GPUs of a site and their hosts.

    Attributes:
        values: float32 [GPU, column of GPU_COLUMNS]; written anew by each `advance`.
        host_values: float32 [node, column of HOST_COLUMNS].
        pace: float32 [GPU], clock over full clock as heat, power and faults allow it.
        clock_cap: float32 [GPU], the highest pace that a fault leaves; 1 for none.
        watts: float32 [GPU].
    """

    def __init__(self, plan: SitePlan, seed: int) -> None:
        self._plan = plan
        self._noise = Noise(seed)
        count = plan.gpu_count
        rng = np.random.default_rng((seed, 1))
        self._silicon = rng.normal(1.0, 0.012, count).clip(0.96, 1.04).astype(np.float32)
        self._gain = self._silicon.copy()  # of power over activity: silicon and demand
        self._place = rng.normal(0.0, 1.0, count).clip(-2.5, 2.5).astype(np.float32)
        self._inlet = self._place + np.float32(INLET_CELSIUS)
        busy = np.repeat(plan.run_of_node >= 0, plan.gpus_per_node)
        self.watts = np.where(busy, 1000.0, IDLE_WATTS).astype(np.float32)
        self._heat: Floats = self._inlet + self.watts * np.float32(CELSIUS_PER_WATT)
        self._memory_heat: Floats = self._heat + np.float32(6)
        self._energy = rng.uniform(1e5, 1e6, count)
        self.pace = np.ones(count, np.float32)
        self.clock_cap = np.ones(count, np.float32)
        self._budget = np.full(count, LIMIT_WATTS - IDLE_WATTS, np.float32)  # watts above idle
        self._lowest_budget = LIMIT_WATTS - IDLE_WATTS
        self.values = np.zeros((count, len(GPU_COLUMNS)), np.float32)
        self.host_values = np.zeros((plan.node_count, len(HOST_COLUMNS)), np.float32)
        self.host_values[:, 2] = HOST_MEMORY_BYTES
        self._scratch = np.empty((7, BLOCK), np.float32)
        self._tables = np.zeros((8, (len(plan.runs) + 1) * len(Mode)), np.float32)
        self._run_codes = (plan.run_of_node.astype(np.intp) + 1) * len(Mode)
        self._halls = np.searchsorted(plan.hall_of_node, range(len(plan.hall_names)))
        self._now = -1.0
        self._tick = 0
        self._fill_tables()

    # --- what faults do --------------------------------------------------------------------

    def warm_inlet(self, nodes: range, rise_celsius: float) -> None:
        """Set how much warmer than usual the coolant comes to nodes."""
        rows = self.rows(nodes)
        self._inlet[rows] = self._place[rows] + np.float32(INLET_CELSIUS + rise_celsius)

    def set_demand(self, nodes: range, factor: float) -> None:
        """Set how much more power than usual the nodes' work takes; 1 is usual."""
        rows = self.rows(nodes)
        self._gain[rows] = self._silicon[rows] * np.float32(factor)

    def set_limits(self, nodes: range, watts: npt.NDArray[np.float32]) -> None:
        """Set the power limit of nodes' GPUs, by node; 0 W is the device's own."""
        limits = np.where(watts > 0, watts, np.float32(LIMIT_WATTS)) - np.float32(IDLE_WATTS)
        self._budget[self.rows(nodes)] = np.repeat(limits, self._plan.gpus_per_node)
        self._lowest_budget = float(self._budget.min())

    def set_xid(self, gpu: int, code: int) -> None:
        """Set the last XID that a GPU reported; 0 for none since its node started."""
        self.values[gpu, _COLUMN["xid"]] = code

    def rows(self, nodes: range) -> slice:
        """Return the rows of nodes' GPUs."""
        each = self._plan.gpus_per_node
        return slice(nodes.start * each, nodes.stop * each)

    # --- what they measure -----------------------------------------------------------------

    def slowest(self, run_index: int) -> float:
        """Return the lowest pace of a run's GPUs: none of them is faster for long."""
        run = self._plan.runs[run_index]
        rows = self.rows(range(run.first_node, run.first_node + run.node_count))
        return float(self.pace[rows].min())

    def hall_watts(self) -> npt.NDArray[np.float64]:
        """Return float64 [hall]: the draw of its GPUs, watts."""
        starts = self._halls * self._plan.gpus_per_node
        return np.add.reduceat(self.watts, starts, dtype=np.float64)

    def advance(
        self,
        now_seconds: float,
        modes: npt.NDArray[np.uint8],
        paces: npt.NDArray[np.float32],
        down: npt.NDArray[np.bool_],
    ) -> None:
        """Compute `values` and `host_values` of now.

        Args:
            now_seconds: Any clock's, growing.
            modes: [node], of Mode.
            paces: [run], at what share of full speed its steps go; a faster GPU waits.
            down: [node], those without power.
        """
        seconds = max(0.0, now_seconds - self._now) if self._now >= 0 else 0.0
        self._now = now_seconds
        self._tick += 1
        # A GPU computes for the share of a step that its own pace leaves the slowest one.
        self._tables[0].reshape(-1, len(Mode))[1:, Mode.BUSY] = paces
        codes = self._run_codes + modes
        each = self._plan.gpus_per_node
        nodes = max(1, BLOCK // each)
        for first in range(0, self._plan.node_count, nodes):
            block = np.repeat(codes[first : first + nodes], each)
            self._advance_block(first * each, block, seconds)
        self._advance_hosts(codes, seconds)
        if down.any():
            self._darken(np.flatnonzero(down))

    def _fill_tables(self) -> None:
        by_run = self._tables.reshape(len(self._tables), -1, len(Mode))
        for column in range(_PROFILE.shape[1]):
            by_run[column + 2] = _PROFILE[:, column]
        ratios = [0.0, *(run.tensor_ratio for run in self._plan.runs)]
        by_run[1, :, Mode.BUSY] = ratios

    def _advance_block(self, start: int, codes: npt.NDArray[np.intp], seconds: float) -> None:
        count = len(codes)
        rows = slice(start, start + count)
        share, utilisation, sm, tensor, dram, spare, clock = self._scratch[:, :count]
        pace, out = self.pace[rows], self.values[rows]
        self._look(0, codes, share)
        np.divide(share, pace, out=share)
        np.minimum(share, 1, out=share)
        self._look(2, codes, utilisation)
        self._activity(self._look(3, codes, sm), share, SM_SPAN, spare, (start, 1))
        self._activity(self._look(4, codes, dram), share, DRAM_SPAN, spare, (start, 2))
        np.multiply(self._look(1, codes, tensor), share, out=tensor)
        self._activity(tensor, share, 0.0, spare, (start, 3))
        out[:, _COLUMN["gpu_utilisation"]] = utilisation
        out[:, _COLUMN["sm_active"]] = sm
        out[:, _COLUMN["tensor_active"]] = tensor
        out[:, _COLUMN["dram_active"]] = dram
        out[:, _COLUMN["memory_used"]] = self._memory(codes, rows, spare)
        # From here on: the watts that activity takes at full clock, in `sm`.
        sm *= SM_WATTS
        tensor *= TENSOR_WATTS
        utilisation *= UTILISATION_WATTS
        sm += tensor
        sm += utilisation
        sm *= self._gain[rows]
        reasons = self._slow(rows, sm, share, self._look(5, codes, clock) < 1)
        clock *= pace
        self._warm(rows, sm, clock, dram, spare, seconds)
        out[:, _COLUMN["clock_event_reasons"]] = reasons
        np.multiply(clock, CLOCK_MHZ / CLOCK_STEP_MHZ, out=clock)
        np.rint(clock, out=clock)
        out[:, _COLUMN["sm_clock"]] = clock
        out[:, _COLUMN["sm_clock"]] *= CLOCK_STEP_MHZ

    def _look(self, table: int, codes: npt.NDArray[np.intp], out: Floats) -> Floats:
        return np.take(self._tables[table], codes, out=out, mode="clip")

    def _activity(
        self, level: Floats, share: Floats, span: float, spare: Floats, place: tuple[int, int]
    ) -> None:
        """Add to what waiting does what computing does, and a little noise."""
        if span:
            np.multiply(share, span, out=spare)
            level += spare
        np.multiply(self._noise.read(len(level), self._tick, *place), 0.012, out=spare)
        spare += 1
        level *= spare
        np.minimum(level, 1, out=level)

    def _memory(self, codes: npt.NDArray[np.intp], rows: slice, out: Floats) -> Floats:
        self._look(6, codes, out)
        out *= self._silicon[rows]
        out *= GPU_MEMORY_BYTES
        return out

    def _slow(
        self, rows: slice, watts: Floats, reasons: Floats, idle: npt.NDArray[np.bool_]
    ) -> Floats:
        """Set the pace that faults, heat and the power limit allow; return why it is below 1."""
        pace, heat = self.pace[rows], self._heat[rows]
        np.copyto(pace, self.clock_cap[rows])
        np.multiply(idle, IDLE_REASON, out=reasons)
        if float(heat.max()) > SLOW_CELSIUS:
            allowed = 1 - (heat - SLOW_CELSIUS) * np.float32(SLOW_RATIO_PER_CELSIUS)
            np.minimum(pace, allowed.clip(0.35, 1), out=pace)
            halted = heat > HALT_CELSIUS
            pace[halted] = np.minimum(pace[halted], 0.5)
            reasons[(heat > SLOW_CELSIUS) & ~idle] += HEAT_REASON
            reasons[halted & ~idle] += HALT_REASON
        if float(watts.max()) > self._lowest_budget:
            budget = self._budget[rows]
            over = watts * pace * pace > budget
            pace[over] = np.sqrt(budget[over] / watts[over])
            reasons[over] += POWER_REASON
        return reasons

    def _warm(
        self,
        rows: slice,
        full_watts: Floats,
        clock: Floats,
        dram: Floats,
        spare: Floats,
        seconds: float,
    ) -> None:
        """Turn activity into power, power into heat and energy, and write them."""
        watts, heat, memory_heat = self.watts[rows], self._heat[rows], self._memory_heat[rows]
        out, energy = self.values[rows], self._energy[rows]
        np.multiply(clock, clock, out=watts)
        watts *= full_watts
        watts += IDLE_WATTS
        out[:, _COLUMN["power"]] = watts
        np.multiply(watts, seconds, out=spare)
        energy += spare
        out[:, _COLUMN["energy"]] = energy
        nearer = 1 - math.exp(-min(seconds, _SECONDS_LIMIT) / WARM_SECONDS)
        np.multiply(watts, CELSIUS_PER_WATT, out=spare)
        spare += self._inlet[rows]
        spare -= heat
        spare *= nearer
        heat += spare
        np.multiply(dram, 14, out=spare)
        spare += heat
        spare -= memory_heat
        spare *= nearer
        memory_heat += spare
        np.rint(heat, out=spare)  # devices tell whole degrees
        out[:, _COLUMN["gpu_temperature"]] = spare
        np.rint(memory_heat, out=spare)
        out[:, _COLUMN["memory_temperature"]] = spare

    def _advance_hosts(self, codes: npt.NDArray[np.intp], seconds: float) -> None:
        out, count = self.host_values, self._plan.node_count
        processor = np.take(self._tables[7], codes)
        processor *= 1 + np.float32(0.05) * self._noise.read(count, self._tick, 5)
        out[:, 0] = processor
        used = np.take(self._tables[6], codes)
        used *= np.float32(0.55 * HOST_MEMORY_BYTES)
        used += np.float32(0.04 * HOST_MEMORY_BYTES)
        out[:, 1] = used
        nearer = 1 - math.exp(-seconds / 60) if self._tick > 1 else 1.0
        out[:, 3] += (processor * np.float32(HOST_CORES) - out[:, 3]) * np.float32(nearer)

    def _darken(self, nodes: npt.NDArray[np.intp]) -> None:
        """Take the power from nodes that are down."""
        each = self._plan.gpus_per_node
        rows = (nodes[:, None] * each + np.arange(each)).ravel()
        self.watts[rows] = 0
        for name in ("power", "sm_clock", "gpu_utilisation", "memory_used"):
            self.values[rows, _COLUMN[name]] = 0
