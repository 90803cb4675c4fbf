"""What many nodes' answers come to."""

from __future__ import annotations

from colossus_protos.v1 import directive_pb2
from colossus_tui.hub.backends.nodes import Answers

DONE = directive_pb2.DIRECTIVE_OUTCOME_DONE


def test_answers_that_speak_of_no_rank_leave_what_was_said_of_the_ranks() -> None:
    told, silent = Answers(1), Answers(1)
    rank = directive_pb2.RankResult(rank=1, ok=True)
    told.add("node-1", directive_pb2.DirectiveResult(outcome=DONE, ranks=[rank]))
    silent.add("node-1", directive_pb2.DirectiveResult(outcome=DONE))

    first, second = told.stage("2/2 ranks saved"), silent.stage("SIGTERM sent")

    assert (first.rank_count, first.confirmed_rank_count) == (1, 1)
    assert (second.rank_count, second.confirmed_rank_count, second.ranks) == (None, None, None)
    assert second.confirmed_node_count == 1
