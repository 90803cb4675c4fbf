"""The steps of one run, from whatever files its processes print to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from colossus_agent.logs.megatron import Megatron
from colossus_agent.logs.printed import LINE_LIMIT, Printed, Reader
from colossus_agent.logs.tail import Tail
from colossus_agent.logs.torchtitan import Torchtitan
from colossus_hook.page import StepRecord

FILE_LIMIT = 16
READERS: tuple[Callable[[], Reader], ...] = (Megatron, Torchtitan)


class RunLog:
    """Finds out which framework prints there by its first line of progress.

    Args:
        is_old: Whether what the files hold at first is an earlier attempt's.
    """

    def __init__(self, *, is_old: bool = False) -> None:
        self._is_old = is_old
        self._tails: dict[str, Tail] = {}
        self._readers: Sequence[Reader] = [make() for make in READERS]
        self._known = False
        self._last_unix_ns = 0

    @property
    def source(self) -> str:
        """Where the steps come from; "" before the first."""
        return f"log ({self._readers[0].name})" if self._known else ""

    @property
    def facts(self) -> dict[str, float]:
        """What the run has stated of itself."""
        target = self._readers[0].target_steps if self._known else 0
        return {"target_steps": float(target)} if target else {}

    def follow(self, paths: Iterable[str]) -> None:
        """Read these too; a file that is followed stays so until `close`."""
        for path in paths:
            if len(self._tails) < FILE_LIMIT:
                self._tails.setdefault(path, Tail(path, is_old=self._is_old))

    def read(self) -> list[StepRecord]:
        """Return the steps printed since the last call."""
        found: list[StepRecord] = []
        for path, tail in list(self._tails.items()):
            head, lines = tail.read()
            if not lines and tail.is_over:
                tail.close()
                del self._tails[path]
            for line in self._wanted(head):
                self._learn(line)
            printed = [step for line in self._wanted(lines) if (step := self._take(line))]
            found += self._timed(printed, tail.written_unix_ns)
        return found

    def close(self) -> None:
        """Let go of the files; what was found stays known."""
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()

    def _wanted(self, lines: Iterable[bytes]) -> list[str]:
        marks = [mark for reader in self._readers for mark in reader.marks]
        return [
            line[:LINE_LIMIT].decode("utf-8", "replace")
            for line in lines
            if any(mark in line for mark in marks)
        ]

    def _learn(self, line: str) -> None:
        for reader in self._readers:
            reader.learn(line)

    def _take(self, line: str) -> Printed | None:
        self._learn(line)
        for reader in self._readers:
            if printed := reader.take(line):
                if not self._known:
                    self._known, self._readers = True, [reader]
                return printed
        return None

    def _timed(self, printed: Sequence[Printed], written_unix_ns: int) -> list[StepRecord]:
        """Give each step its time: the last was printed when the file was last written.

        Those before it are counted back by how long their steps took, for as far as they say so.
        """
        at = min(time.time_ns(), written_unix_ns)
        records: list[StepRecord] = []
        for index in range(len(printed) - 1, -1, -1):
            step, tokens, loss, grad_norm, seconds = printed[index]
            records.append(StepRecord(step, at, tokens, loss, grad_norm, seconds))
            if index and 0 < seconds < 1e6:
                at -= int(seconds * 1e9 * (step - printed[index - 1].step))
        for index, record in enumerate(reversed(records)):
            later = max(record.unix_ns, self._last_unix_ns + 1)
            self._last_unix_ns = later
            records[-1 - index] = record._replace(unix_ns=later)
        return records[::-1]
