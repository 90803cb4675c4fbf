"""What a simulated site is made of: halls, racks, nodes, GPUs, runs and named power limits.

Nothing here changes while a simulation runs.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_tui.sim.catalogue import MODELS, SITE_NODE_COUNT, Model, RunPlan

NODES_PER_RACK = 18
RACKS_PER_HALL = 400
HALLS_PER_FEED = 5
SPARE_RATIO = 0.02
IDLE_WATTS, PLANNED_WATTS = 140.0, 1000.0  # of one GPU
HEADROOM_RATIO = 1.12  # of a named limit over the planned draw


@dataclass(frozen=True, slots=True)
class Limit:
    """A power limit with the name it is known by.

    Attributes:
        watts: The limit, over all GPUs of its halls.
        halls: Indices of the halls that it counts.
    """

    name: str
    watts: float
    halls: tuple[int, ...]

    @property
    def megawatts(self) -> float:
        """The limit, MW."""
        return self.watts / 1e6


@dataclass(frozen=True, slots=True, eq=False)
class SitePlan:
    """A site; GPUs are numbered node by node, nodes rack by rack, racks hall by hall.

    Attributes:
        hall_of_rack: int32 [rack].
        rack_of_node: int32 [node].
        hall_of_node: int32 [node].
        run_of_node: int16 [node]; -1 for a spare one.
        limits: One a hall, in their order, then the site's feeds.
    """

    seed: int
    node_count: int
    gpus_per_node: int
    hall_names: tuple[str, ...]
    rack_names: tuple[str, ...]
    node_names: tuple[str, ...]
    hall_of_rack: npt.NDArray[np.int32]
    rack_of_node: npt.NDArray[np.int32]
    hall_of_node: npt.NDArray[np.int32]
    run_of_node: npt.NDArray[np.int16]
    runs: tuple[RunPlan, ...]
    limits: tuple[Limit, ...]

    @property
    def gpu_count(self) -> int:
        """GPUs of the site."""
        return self.node_count * self.gpus_per_node

    @property
    def run_of_gpu(self) -> npt.NDArray[np.int16]:
        """int16 [GPU]; -1 for a spare one. Made anew at each call."""
        return np.repeat(self.run_of_node, self.gpus_per_node)

    def run_index(self, node_index: int) -> int:
        """Return the run of a node; -1 for a spare one."""
        return int(self.run_of_node[node_index])

    def gpu_uuid(self, node_index: int, gpu_index: int) -> str:
        """Return a GPU's identity: the same for the same seed and place, never kept."""
        place = f"{self.seed}/{node_index}/{gpu_index}".encode()
        digest = hashlib.blake2b(place, digest_size=16).hexdigest()
        parts = digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]
        return f"GPU-{'-'.join(parts)}"

    def gpu_uuids(self, node_index: int) -> list[str]:
        """Return the identities of a node's GPUs."""
        return [self.gpu_uuid(node_index, gpu) for gpu in range(self.gpus_per_node)]

    def nodes_of_rack(self, rack_index: int) -> range:
        """Return the nodes of a rack."""
        return _within(self.rack_of_node, rack_index)

    def nodes_of_hall(self, hall_index: int) -> range:
        """Return the nodes of a hall."""
        return _within(self.hall_of_node, hall_index)


def plan_site(node_count: int, gpus_per_node: int = 4, seed: int = 7) -> SitePlan:
    """Lay a site out; from 50 nodes on some are spare, and seven nodes hold all seven runs.

    Raises:
        ValueError: A count is not positive.
    """
    if node_count < 1 or gpus_per_node < 1:
        raise ValueError(f"{node_count} nodes of {gpus_per_node} GPUs: at least 1 of 1 is needed")
    rack_of_node = (np.arange(node_count) // NODES_PER_RACK).astype(np.int32)
    rack_count = int(rack_of_node[-1]) + 1
    hall_count = max(1, round(rack_count / RACKS_PER_HALL))
    racks_per_hall = math.ceil(rack_count / hall_count)
    hall_of_rack = (np.arange(rack_count) // racks_per_hall).astype(np.int32)
    hall_count = int(hall_of_rack[-1]) + 1
    letters = [_letters(hall) for hall in range(hall_count)]
    racks = [
        f"{letters[hall]}-r{rack - hall * racks_per_hall + 1:03}"
        for rack, hall in enumerate(hall_of_rack.tolist())
    ]
    hall_of_node = hall_of_rack[rack_of_node]
    runs = _place(node_count, gpus_per_node)
    run_of_node = np.full(node_count, -1, np.int16)
    for index, run in enumerate(runs):
        run_of_node[run.first_node : run.first_node + run.node_count] = index
    return SitePlan(
        seed=seed,
        node_count=node_count,
        gpus_per_node=gpus_per_node,
        hall_names=tuple(f"hall-{letter}" for letter in letters),
        rack_names=tuple(racks),
        node_names=tuple(
            f"{racks[rack].lower()}-n{node % NODES_PER_RACK + 1:02}"
            for node, rack in enumerate(rack_of_node.tolist())
        ),
        hall_of_rack=hall_of_rack,
        rack_of_node=rack_of_node,
        hall_of_node=hall_of_node,
        run_of_node=run_of_node,
        runs=runs,
        limits=_limits(hall_of_node, run_of_node, gpus_per_node),
    )


def _within(places: npt.NDArray[np.int32], place: int) -> range:
    first, last = np.searchsorted(places, [place, place + 1])
    return range(int(first), int(last))


def _letters(number: int) -> str:
    """Return A, B, .. Z, AA, AB, .."""
    rest, letter = divmod(number, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("A") + letter)


def _place(node_count: int, gpus_per_node: int) -> tuple[RunPlan, ...]:
    """Give each model its nodes: whole racks where there are enough, in the catalogue's order."""
    unit = NODES_PER_RACK if node_count >= 50 * NODES_PER_RACK else 1
    unit_count = node_count // unit
    spare_count = round(unit_count * SPARE_RATIO) if node_count >= 50 else 0
    largest = sorted(MODELS, key=lambda model: model.share, reverse=True)
    chosen = set(largest[: min(len(MODELS), unit_count - spare_count)])
    models = [model for model in MODELS if model in chosen]
    counts = _divide(unit_count - spare_count, [model.share for model in models])
    spares = [
        (index + 1) * spare_count // len(models) - index * spare_count // len(models)
        for index in range(len(models))
    ]
    runs, first = [], 0
    for model, count, spare in zip(models, counts, spares, strict=True):
        runs.append(_run(model, first * unit, count * unit, gpus_per_node, node_count))
        first += count + spare
    return tuple(runs)


def _run(model: Model, first: int, count: int, gpus_per_node: int, node_count: int) -> RunPlan:
    # Fewer GPUs take smaller batches, so that a small site is as lively to look at.
    scale = min(1.0, max(0.1, (node_count / SITE_NODE_COUNT) ** 0.3))
    return model.on(first, count, count * gpus_per_node, scale)


def _divide(total: int, shares: list[float]) -> list[int]:
    """Divide a number by shares, at least 1 each."""
    wanted = [share / sum(shares) * total for share in shares]
    counts = [max(1, int(part)) for part in wanted]
    while sum(counts) > total:
        counts[counts.index(max(counts))] -= 1
    while sum(counts) < total:
        lacks = [part - count for part, count in zip(wanted, counts, strict=True)]
        counts[lacks.index(max(lacks))] += 1
    return counts


def _limits(
    hall_of_node: npt.NDArray[np.int32], run_of_node: npt.NDArray[np.int16], gpus_per_node: int
) -> tuple[Limit, ...]:
    hall_count = int(hall_of_node[-1]) + 1
    node_watts = np.where(run_of_node >= 0, PLANNED_WATTS, IDLE_WATTS) * gpus_per_node
    planned = np.bincount(hall_of_node, node_watts, hall_count)
    limits = [
        _limit(f"hall {_letters(hall)} contract", float(planned[hall]), (hall,))
        for hall in range(hall_count)
    ]
    for number, first in enumerate(range(0, hall_count, HALLS_PER_FEED), 1):
        halls = tuple(range(first, min(first + HALLS_PER_FEED, hall_count)))
        limits.append(_limit(f"site feed {number}", float(planned[list(halls)].sum()), halls))
    return tuple(limits)


def _limit(name: str, planned_watts: float, halls: tuple[int, ...]) -> Limit:
    megawatts = float(f"{planned_watts * HEADROOM_RATIO / 1e6:.3g}")
    return Limit(f"{name} {megawatts:g} MW", megawatts * 1e6, halls)
