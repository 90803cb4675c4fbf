"""The gap buffer: order, numbers without holes, bounds, and what gives way first."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from colossus_agent.outbox import Outbox
from colossus_protos.v1 import agent_link_pb2, common_pb2, frame_pb2


def frame(time: int, size: int = 0) -> agent_link_pb2.LinkRequest:
    values = frame_pb2.Frame(sample_time_unix_ns=time, gpu_values=b"\0" * size)
    return agent_link_pb2.LinkRequest(frame=values)


def event(time: int, text: str = "") -> agent_link_pb2.LinkRequest:
    return agent_link_pb2.LinkRequest(event=common_pb2.Event(time_unix_ns=time, message=text))


def decode(body: bytes) -> agent_link_pb2.LinkRequest:
    return agent_link_pb2.LinkRequest.FromString(body)


def drain(following: Callable[[], bytes | None]) -> list[agent_link_pb2.LinkRequest]:
    found = []
    while (body := following()) is not None:
        found.append(decode(body))
    return found


def drain_all(outbox: Outbox) -> list[agent_link_pb2.LinkRequest]:
    return [
        *drain(outbox.next_frame),
        *drain(outbox.next_other),
        *drain(outbox.next_old_frame),
    ]


def test_the_newest_frame_goes_first_and_the_gap_after_it_is_marked() -> None:
    outbox = Outbox(frame_limit=10)
    for time in (1, 2, 3):
        outbox.add(frame(time))
    outbox.add(event(4))
    outbox.begin_link()
    outbox.add(event(5))

    sent = drain_all(outbox)

    assert [m.frame.sample_time_unix_ns or m.event.time_unix_ns for m in sent] == [3, 4, 5, 1, 2]
    assert [m.replayed for m in sent] == [False, True, False, True, True]
    assert [m.sequence for m in sent] == [1, 2, 3, 4, 5]


def test_what_was_written_and_not_acknowledged_comes_again_under_its_number() -> None:
    outbox = Outbox(frame_limit=10)
    for time in (1, 2, 3):
        outbox.add(event(time))
    outbox.begin_link()
    first = drain(outbox.next_other)
    outbox.acknowledge(1)
    outbox.add(event(4))
    outbox.begin_link()

    second = drain(outbox.next_other)

    assert [m.sequence for m in first] == [1, 2, 3]
    assert [(m.sequence, m.event.time_unix_ns) for m in second] == [(2, 2), (3, 3), (4, 4)]
    assert all(m.replayed for m in second)


def test_what_is_acknowledged_before_it_was_written_again_is_not_written_again() -> None:
    outbox = Outbox(frame_limit=10)
    for time in range(1, 4):
        outbox.add(event(time))
    outbox.begin_link()
    drain(outbox.next_other)
    outbox.begin_link()

    outbox.acknowledge(2)

    assert [m.sequence for m in drain(outbox.next_other)] == [3]
    outbox.acknowledge(3)
    assert len(outbox) == outbox.byte_count == 0


def test_frames_give_way_before_steps_and_events_and_the_loss_is_counted() -> None:
    outbox = Outbox(frame_limit=1000, byte_limit=10_000)
    for time in range(100):
        outbox.add(frame(time, size=500))
        outbox.add(event(time, "kept"))

    assert outbox.byte_count <= 10_000
    assert outbox.dropped_frames > 80
    assert outbox.dropped_others == 0
    assert len(drain(outbox.next_other)) == 100


def test_beyond_the_frame_limit_the_oldest_frame_goes() -> None:
    outbox = Outbox(frame_limit=3)
    for time in range(10):
        outbox.add(frame(time))
    outbox.begin_link()

    sent = drain_all(outbox)

    assert [m.frame.sample_time_unix_ns for m in sent] == [9, 7, 8]
    assert outbox.dropped_frames == 7


def test_a_number_whose_message_was_given_up_is_filled_so_that_the_hub_need_not_wait() -> None:
    outbox = Outbox(frame_limit=2)
    outbox.begin_link()
    for time in range(4):
        outbox.add(frame(time))
        drain(outbox.next_frame)
    outbox.begin_link()

    fillers = [decode(body) for body in outbox.fillers()]
    again = drain(outbox.next_old_frame)

    assert [m.sequence for m in fillers] == [1, 2]
    assert [m.WhichOneof("body") for m in fillers] == [None, None]
    assert [m.sequence for m in again] == [3, 4]
    outbox.acknowledge(4)
    assert outbox.fillers() == []
    assert outbox.oldest_sequence == 5
    assert len(outbox) == outbox.byte_count == 0


@given(
    st.lists(
        st.sampled_from(["frame", "event", "write", "old", "link", "acknowledge"]), max_size=80
    ),
    st.integers(1, 6),
)
def test_whatever_happens_a_hub_gets_every_event_once_and_no_number_is_missing(
    steps: list[str], frame_limit: int
) -> None:
    outbox = Outbox(frame_limit)
    got: dict[int, agent_link_pb2.LinkRequest] = {}
    added = 0

    def take(body: bytes | None) -> None:
        if body is not None:
            got.setdefault(decode(body).sequence, decode(body))

    def whole() -> int:
        number = 0
        while number + 1 in got:
            number += 1
        return number

    def link() -> None:
        outbox.acknowledge(whole())
        outbox.begin_link()
        for body in outbox.fillers():
            take(body)

    for step in steps:
        match step:
            case "frame":
                outbox.add(frame(1))
            case "event":
                added += 1
                outbox.add(event(added))
            case "write":
                take(outbox.next_frame() or outbox.next_other())
            case "old":
                take(outbox.next_old_frame())
            case "link":  # what was written just before may not have come
                for number in [n for n in got if n > outbox.last_sequence - 2]:
                    if number > whole() - 1 and number >= outbox.oldest_sequence:
                        del got[number]
                link()
            case _:
                outbox.acknowledge(whole())
    link()
    for message in drain_all(outbox):
        got.setdefault(message.sequence, message)

    times = [got[n].event.time_unix_ns for n in sorted(got) if got[n].HasField("event")]
    assert sorted(times) == list(range(1, added + 1))
    assert sorted(got) == list(range(1, outbox.last_sequence + 1))
