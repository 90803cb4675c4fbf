"""Choosing GPUs by what they are: `run=10t and temp>85 and age<5`."""

from __future__ import annotations

from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.match.expression import EVERYTHING, Expression, Row, holds, names
from colossus_tui.model.match.fields import GPU_FIELDS
from colossus_tui.model.match.parser import read

GPU_WORD_FIELDS = ("run", "node", "rack", "hall", "uuid")  # that a bare word may be a piece of


@dataclass(frozen=True, slots=True)
class GpuMatch:
    """A checked expression over GPUs; one without terms means every GPU.

    A bare word is a piece of the name of the GPU's run, node, rack or hall, or of its UUID.
    """

    expression: Expression = EVERYTHING

    def __call__(self, row: Row) -> bool:
        """Return whether one GPU is meant; the hub decides over all of them at once."""
        return holds(self.expression, row)

    def __str__(self) -> str:
        return str(self.expression)

    def names(self, field: str) -> bool:
        """Return whether one of its terms is about this field."""
        return names(self.expression, field)


def parse_gpus(text: str) -> GpuMatch:
    """Return the checked expression over GPUs; an empty one means every GPU.

    Raises:
        MatchError: A term is wrong.
    """
    return GpuMatch(read(text, GPU_FIELDS))
