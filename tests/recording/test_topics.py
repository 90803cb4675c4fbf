"""Answers taken apart and put together: by the contracts alone, whatever they come to hold."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from colossus_protos.v1 import console_pb2, recording_pb2, site_pb2
from colossus_tui.recording import questions
from colossus_tui.recording.topics import grow_older, join, scope, split
from tests.recording.made import events, runs, site_map

TEXT = FieldDescriptor.TYPE_STRING


def filled(kind: Any, depth: int = 0) -> Any:
    """Return a message with something in every field, some levels deep."""
    message = kind()
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None:
            value: Any = "x" if field.type == TEXT else b"x" if field.cpp_type == 9 else 1
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif not field.message_type.GetOptions().map_entry and depth < 3:
            part = getattr(message, field.name)
            if field.is_repeated:
                for _ in range(2):
                    element = part.add()
                    element.CopyFrom(filled(type(element), depth + 1))
            else:
                part.CopyFrom(filled(type(part), depth + 1))
    return message


def test_every_field_of_a_view_comes_back() -> None:
    answer = filled(console_pb2.WatchViewResponse)
    answer.ClearField("playback")
    for field in answer.DESCRIPTOR.fields:
        if field.message_type is None:
            answer.ClearField(field.name)  # plain numbers are of the stream, not of the state

    assert join(split(answer), console_pb2.WatchViewResponse) == answer


def test_elements_of_one_identity_are_kept_apart() -> None:
    answer = runs(0, "a", "a", "b")

    assert [name for name in split(answer) if name.startswith("runs/")] == [
        "runs/a",
        "runs/a~2",
        "runs/b",
    ]
    assert join(split(answer), type(answer)) == answer


def test_a_key_that_is_repeated_is_one_element() -> None:
    order = recording_pb2.RecordedOrder(keys=["a", "b", *["a"] * 1_000])
    parts = split(runs(0, "a", "b")) | {"runs": order.SerializeToString()}

    assert join(parts, console_pb2.WatchViewResponse) == runs(0, "a", "b")


def test_an_event_is_known_by_its_number() -> None:
    assert {"events/7", "events/8"} < split(events(0, 8, 7)).keys()


def test_a_layout_that_stays_is_not_written_again() -> None:
    before, after = split(site_map(0, b"1234")), split(site_map(10, b"5678"))

    assert before["map/layout"] == after["map/layout"]
    assert before["map"] != after["map"]
    assert join(after, console_pb2.WatchViewResponse) == site_map(10, b"5678")


def test_what_is_not_known_here_is_left_out() -> None:
    parts = split(runs(0, "a")) | {"weather": b"\x0a\x01x", "weather/rain": b""}

    assert join(parts, console_pb2.WatchViewResponse) == runs(0, "a")


def test_names_cannot_break_out_of_their_topic() -> None:
    name = "a/b:c%2F\x1b[2J\n"
    assert scope("run", name).count("/") == 1
    assert ":" not in scope("run", name)
    assert scope("run", name).isprintable()
    assert join(split(runs(0, name)), console_pb2.WatchViewResponse) == runs(0, name)


def test_every_flag_of_a_view_is_asked() -> None:
    known = {field.name for field in console_pb2.WatchViewRequest.DESCRIPTOR.fields}

    assert {"runs", "nodes", "events"} <= set(questions.flags()) <= known


@pytest.mark.parametrize("kind", [console_pb2.RunDetail, console_pb2.NodeDetail, site_pb2.Place])
def test_every_age_grows(kind: type[Message]) -> None:
    message = filled(kind)
    ages = str(message).count("age_seconds: 1")
    grow_older(message, 10.0)

    assert ages > 0
    assert str(message).count("age_seconds: 11") == ages


def test_the_age_of_what_never_was_stays() -> None:
    value = console_pb2.MetricValue(name="power", age_seconds=-1.0)
    grow_older(value, 10.0)

    assert value.age_seconds == -1.0
