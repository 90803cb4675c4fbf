"""Report steps from a training loop and obey directives; standard library only."""

from colossus_hook._run import Run, Verdict
from colossus_hook.checkpoints import forget, newest, publish

__all__ = ["Run", "Verdict", "forget", "newest", "publish"]
