"""What every backend offers; a new scheduler is one new module behind this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    RankResult,
    ReasonCode,
    Run,
    Verb,
)


class RefusalError(Exception):
    """An action cannot be done; nothing was tried."""

    def __init__(self, code: ReasonCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class ActionFailedError(Exception):
    """An action was tried and surely did not happen, or only in part."""

    def __init__(
        self, code: ReasonCode, detail: str, state: ActionState = ActionState.FAILED
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.state = state


@dataclass(frozen=True, slots=True)
class Stage:
    """What a backend has to say while it carries an action out; None leaves a part as it is."""

    detail: str
    agreed_step: int | None = None
    ranks: tuple[RankResult, ...] | None = None
    node_count: int | None = None
    confirmed_node_count: int | None = None


Report = Callable[[Stage], Awaitable[None]]  # returns once the stage is on disk


@dataclass(frozen=True, slots=True)
class Order:
    """One action to carry out."""

    action: Action
    report: Report


class Backend(Protocol):
    """Owner of runs' processes."""

    name: str

    def check(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> None:
        """Return when the run can do this now.

        Raises:
            RefusalError: It cannot; why.
        """

    def effect(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> str:
        """Return in one sentence what will happen."""

    def timeout_seconds(self, verb: Verb, parameters: ActionParameters) -> float:
        """Return how long the effect may take to be observed."""

    async def carry_out(self, order: Order) -> str:
        """Do it, and return what was observed once it was.

        Safe to begin anew for the same action after a crash.

        Raises:
            ActionFailedError: It did not happen.
            TimeoutError: It was not observed in time.
        """
