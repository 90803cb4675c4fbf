"""Random numbers that cost nothing: one pool of normals, read from ever other offsets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIZE = 1 << 17
_STRIDES = (48_271, 69_621, 40_014)  # far apart, so that few readings share an offset


class Noise:
    """A pool of standard normals, float32."""

    def __init__(self, seed: int) -> None:
        pool = np.random.default_rng(seed).standard_normal(SIZE, np.float32)
        np.clip(pool, -3.5, 3.5, out=pool)
        self._pool = np.concatenate((pool, pool))

    def read(self, count: int, *place: int) -> npt.NDArray[np.float32]:
        """Return numbers that are the same for the same place; a view, not to be written to.

        Args:
            count: How many.
            place: Up to three numbers that name the reading, such as the tick and the column.
        """
        start = sum(part * stride for part, stride in zip(place, _STRIDES, strict=False)) % SIZE
        if count <= SIZE:
            return self._pool[start : start + count]
        return np.resize(self._pool[start : start + SIZE], count)

    def one(self, *place: int) -> float:
        """Return a single number."""
        return float(self.read(1, *place)[0])
