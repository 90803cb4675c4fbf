"""Report steps from a training loop and obey directives; standard library only."""

from colossus_hook._run import Run, Verdict

__all__ = ["Run", "Verdict"]
