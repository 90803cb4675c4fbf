"""Takes in what nodes say, whether their agents are linked here or to a relay, each word once."""

from __future__ import annotations

import itertools
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from colossus_protos.v1 import agent_link_pb2, common_pb2, frame_pb2, relay_link_pb2
from colossus_tui.hub.events import Events
from colossus_tui.hub.links import Links, Mailbox
from colossus_tui.hub.nodes import NodeRecord, Nodes
from colossus_tui.hub.runs.checkpoints import CheckpointRows
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.runs.steps import StepRows
from colossus_tui.hub.store import FrameError, Rows, Store, vector
from colossus_tui.model import Event, Severity
from colossus_tui.wire import from_proto

LOG = logging.getLogger(__name__)
REFUSED_LIMIT = 1_000


class Upward(Protocol):
    """Where a relay hands on what it takes in; nodes go by their rows in its store."""

    def link(self, number: int, hello: frame_pb2.Hello) -> None:
        """Tell that a node has linked."""

    def unlink(self, number: int) -> None:
        """Tell that a node's link has ended."""

    def message(self, number: int, kind: int, message: agent_link_pb2.LinkRequest) -> None:
        """Hand on a message of a node of this kind."""

    def frames(self, numbers: Rows, batch: relay_link_pb2.FrameBatch) -> None:
        """Hand on a batch of frames."""

    def steps(self, table: relay_link_pb2.StepTable) -> None:
        """Hand on a table of steps."""

    def checkpoints(self, table: relay_link_pb2.CheckpointTable) -> None:
        """Hand on a table of checkpoints."""


class Intake:
    """One door for all that nodes say."""

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        links: Links,
        registry: Registry,
        events: Events,
        upward: Upward | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._links = links
        self._registry = registry
        self._events = events
        self._upward = upward
        self._clock = clock
        self._refused: set[tuple[str, str]] = set()  # nodes and runs of which it was told

    # --- links -----------------------------------------------------------------------------

    def link(self, hello: frame_pb2.Hello, mailbox: Mailbox) -> tuple[NodeRecord, int]:
        """Take a node's link up; return its record and the last sequence that the hub has.

        Raises:
            FrameError: Its Hello does not fit.
        """
        record = self._nodes.admit(hello)
        last = self._nodes.sequences.begin(
            record.rows.node_row, hello.instance_id, hello.oldest_sequence
        )
        if self._links.open(mailbox):
            text = "a newer link took its place"
            self.note(hello.node_name, Severity.WARNING, "agent.replaced", text)
        if self._upward is not None:
            self._upward.link(record.rows.node_row, hello)
        return record, last

    def unlink(self, record: NodeRecord, mailbox: Mailbox) -> None:
        """Note that a link has ended, unless a newer one has its place."""
        if self._links.close(mailbox):
            self._nodes.revision += 1
            if self._upward is not None:
                self._upward.unlink(record.rows.node_row)

    def note(self, node_name: str, severity: Severity, kind: str, message: str) -> None:
        """Keep an event about a node."""
        self._events.add(Event(severity=severity, kind=kind, message=message, node_name=node_name))

    def record(self, row: int) -> NodeRecord:
        """Return the node of a row."""
        return self._nodes.by_row[row]

    # --- messages --------------------------------------------------------------------------

    def take(self, record: NodeRecord, message: agent_link_pb2.LinkRequest) -> None:
        """Take a message of an agent that is linked here, unless it has come before.

        Raises:
            FrameError: A frame's matrix has the wrong length.
        """
        if self._nodes.sequences.is_new(record.rows.node_row, message.sequence):
            self._take(record, message)

    def take_relayed(self, record: NodeRecord, message: agent_link_pb2.LinkRequest) -> None:
        """Take a message that came through a relay, unless it has come before by whatever way.

        An agent says these in order, and frames come apart from them: the largest number decides.

        Raises:
            FrameError: A frame's matrix has the wrong length.
        """
        if self._nodes.sequences.passes(record.rows.node_row, message.sequence):
            self._take(record, message)

    def _take(self, record: NodeRecord, message: agent_link_pb2.LinkRequest) -> None:
        name = record.node_name
        match message.WhichOneof("body"):
            case "frame":
                if not message.replayed:  # an old frame must not pass for the present
                    self._store.put(record.rows, message.frame, self._clock())
            case "step_batch" | "checkpoint_report":
                try:
                    self._take_progress(message)
                except (ValueError, ArithmeticError) as error:  # FrameError, or a sum gone wrong
                    is_step = message.HasField("step_batch")
                    field = "step_batch" if is_step else "checkpoint_report"
                    self._refuse_progress(name, field, getattr(message, field).run_id, error)
                    return
            case "run_report":
                self._registry.take_report(name, message.run_report)
            case "process_report":
                self._store.hold(record.rows, *record.take_processes(message.process_report))
            case "sensor_report":
                self._nodes.take_sensors(record, message.sensor_report)
            case "event":
                self._take_event(name, message.event)
            case "directive_result":
                self._links.answer(name, message.directive_result)
            case None if message.replayed:
                pass  # fills the place of a message that the agent had to give up
            case _:
                LOG.info("node=%r message=unknown", name)  # of a newer agent
        if self._upward is not None:
            self._upward.message(record.rows.node_row, record.rows.kind.number, message)

    def _take_progress(self, message: agent_link_pb2.LinkRequest) -> None:
        if message.HasField("step_batch"):
            self._registry.take_steps(StepRows.of_batch(message.step_batch))
        else:
            self._registry.take_checkpoints(CheckpointRows.of_report(message.checkpoint_report))

    def _refuse_progress(self, node_name: str, field: str, run_id: str, error: Exception) -> None:
        """Leave out what a job says that cannot be, and tell of it once; its node is not to blame.

        No parent hears of it: it would refuse the relay's whole batch.
        """
        if (node_name, run_id) in self._refused:
            return
        if len(self._refused) >= REFUSED_LIMIT:
            self._refused.clear()
        self._refused.add((node_name, run_id))
        if not isinstance(error, FrameError):
            trace = "".join(traceback.format_exception(error))
            LOG.error("node=%r run=%r %s=failed trace=%r", node_name, run_id, field, trace)
        text = f"{field}.{error}; it is left out, and what else it says that cannot be"
        self._events.add(
            Event(
                severity=Severity.WARNING,
                kind="run.refused",
                message=text,
                node_name=node_name,
                run_id=run_id[:63],
            )
        )

    def _take_event(self, node_name: str, message: common_pb2.Event) -> None:
        kept = common_pb2.Event()
        kept.CopyFrom(message)
        kept.node_name, kept.event_id = node_name, 0
        self._events.add(from_proto(Event, kept))

    # --- what relays bring -----------------------------------------------------------------

    def take_frames(self, rows: Rows, batches: Sequence[relay_link_pb2.FrameBatch]) -> None:
        """Take batches of frames in.

        Args:
            rows: Of all their nodes in the store, batch after batch.

        Raises:
            FrameError: An array has the wrong length, or a batch has nodes of several kinds.
        """
        sizes = [len(batch.node_numbers) // 4 for batch in batches]
        if 0 in sizes:
            raise FrameError("node_numbers: a batch of no node")
        ends = list(itertools.accumulate(sizes))
        firsts = [0, *ends[:-1]]
        kinds = self._store.kind_of[rows[firsts]].tolist()
        parts = zip(kinds, firsts, ends, batches, strict=True)
        for _, group in itertools.groupby(parts, key=lambda part: part[0]):
            same = list(group)
            nodes = rows[same[0][1] : same[-1][2]]
            times = b"".join([batch.sample_times_unix_ns for *_, batch in same])
            self._store.put_many(
                nodes,
                vector("sample_times_unix_ns", times, np.int64, nodes.size),
                b"".join([batch.gpu_values for *_, batch in same]),
                b"".join([batch.host_values for *_, batch in same]),
                self._clock(),
            )
        if self._upward is not None:
            for first, end, batch in zip(firsts, ends, batches, strict=True):
                self._upward.frames(rows[first:end], batch)

    def take_checkpoints(self, table: relay_link_pb2.CheckpointTable) -> None:
        """Take a table of checkpoints in; what comes twice changes nothing.

        Raises:
            FrameError: An array has the wrong length.
        """
        self._registry.take_checkpoints(CheckpointRows.of_table(table))
        if self._upward is not None:
            self._upward.checkpoints(table)

    def take_steps(self, table: relay_link_pb2.StepTable) -> None:
        """Take a table of steps in; steps that come twice change nothing.

        Raises:
            FrameError: An array has the wrong length.
        """
        rows = StepRows.of_table(table)
        try:
            self._registry.take_steps(rows)
        except (ValueError, ArithmeticError) as error:
            self._refuse_progress("", "step_table", table.run_id, error)
            return
        if self._upward is not None:
            self._upward.steps(table)
