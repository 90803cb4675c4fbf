"""An agent that carries out what it is asked in the background, and reports what it made of it."""

from __future__ import annotations

import threading

from colossus_protos.v1 import directive_pb2, run_pb2
from tests.fakes.fake_agent import FakeAgent, local_run


class Answering:
    """Answers every directive; a freeze that it carries out is seen in its next report.

    Args:
        runs: What the agent reports; the one run "r" by default.
        refusing: Runs whose directives fail.
        changes: Fields of every answer.
    """

    def __init__(
        self,
        agent: FakeAgent,
        detail: str = "",
        runs: list[run_pb2.LocalRun] | None = None,
        refusing: frozenset[str] = frozenset(),
        **changes: object,
    ) -> None:
        self._agent, self.detail, self._changes = agent, detail, changes
        self._runs = {run.run_id: run for run in runs or [local_run()]}
        self._refusing = refusing
        self.orders: list[str] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                directive = self._agent.directive()
            except Exception:  # noqa: BLE001  # the test has ended, and the link with it
                return
            self._obey(directive)

    def _obey(self, directive: directive_pb2.Directive) -> None:
        order = directive.WhichOneof("order")
        self.orders.append(order or "")
        changes = self._changes
        if directive.run_id in self._refusing:
            changes = {"outcome": directive_pb2.DIRECTIVE_OUTCOME_FAILED}
        self._agent.answer(directive, self.detail, **changes)
        if order == "freeze" and not changes:
            self._runs[directive.run_id].state = run_pb2.LOCAL_RUN_STATE_FROZEN
            self._runs[directive.run_id].fuse_deadline_unix_ns = 1 << 62
            self._agent.report(*self._runs.values())
