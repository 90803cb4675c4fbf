"""What can be done to a run, a node or the site."""

from __future__ import annotations

from enum import StrEnum


class Verb(StrEnum):
    """What is done to a run, to a node, or to the site."""

    START = "start"
    CHECKPOINT = "checkpoint"
    PAUSE = "pause"
    FREEZE = "freeze"
    RESUME = "resume"
    REPRIORITIZE = "reprioritize"
    STOP = "stop"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    CAP = "cap"
    SHED = "shed"
    RESTORE = "restore"

    @property
    def is_on_node(self) -> bool:
        """Whether it is about a node and not about a run."""
        return self in (Verb.DRAIN, Verb.UNDRAIN)

    @property
    def has_parts(self) -> bool:
        """Whether what it does to runs are actions of their own."""
        return self is Verb.DRAIN or self.is_on_site

    @property
    def is_on_run(self) -> bool:
        """Whether it is about one run."""
        return not self.is_on_node and not self.is_on_site

    @property
    def is_on_site(self) -> bool:
        """Whether it is about the site as a whole."""
        return self in (Verb.SHED, Verb.RESTORE)
