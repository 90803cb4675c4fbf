"""Answers taken apart into topics and put together again, by the contracts alone.

A topic is SCOPE:FIELD or SCOPE:FIELD/KEY. The scope is what was asked ("runs", "run/10t",
"map/B//power"), the field one of the answer's, the key the identity of a repeated field's element.
So whatever the contracts come to hold is recorded, and replayed, without a line of code here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from colossus_protos.v1 import recording_pb2

# The runtime has two descriptor implementations and its stubs name only one of each pair.
Descriptor: TypeAlias = Any
M = TypeVar("M", bound=Message)
LEFT_OUT = ("playback",)  # a replay's own
LAYOUT = "layout"  # of a map: hardly ever changes, and is larger than the rest of it
_IDENTITIES = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_INT64)
_LENGTH_DELIMITED = 2


def scope(*names: str) -> str:
    """Return the scope of a question: its kind, then whom it is about."""
    return "/".join(quote(name, safe="") for name in names)


def split(answer: Message) -> dict[str, bytes]:
    """Return an answer's messages by FIELD or FIELD/KEY; plain numbers and texts are left out.

    A repeated field itself is its elements' order.
    """
    parts: dict[str, bytes] = {}
    for field, value in answer.ListFields():
        if field.message_type is None or field.name in LEFT_OUT:
            continue
        if field.is_repeated:
            keys: dict[str, None] = {}
            for element in value:
                key = _key(element, keys)
                keys[key] = None
                parts[f"{field.name}/{key}"] = _bytes(element)
            parts[field.name] = _bytes(recording_pb2.RecordedOrder(keys=keys))
        elif LAYOUT in field.message_type.fields_by_name and value.HasField(LAYOUT):
            layout, rest = type(value)(), type(value)()
            getattr(layout, LAYOUT).CopyFrom(getattr(value, LAYOUT))
            rest.CopyFrom(value)
            rest.ClearField(LAYOUT)
            parts[f"{field.name}/{LAYOUT}"] = _bytes(layout)
            parts[field.name] = _bytes(rest)
        else:
            parts[field.name] = _bytes(value)
    return parts


def join(parts: Mapping[str, bytes], kind: type[M]) -> M:
    """Return the answer of these parts; fields that this program does not know are left out.

    Raises:
        DecodeError: A part is no such message.
    """
    return kind.FromString(b"".join(_fields(parts, kind.DESCRIPTOR)))


def _fields(parts: Mapping[str, bytes], descriptor: Descriptor) -> Iterator[bytes]:
    """Yield the fields as they are on the wire; one field in two pieces is merged by protobuf."""
    for field in descriptor.fields:
        if field.message_type is None or field.name in LEFT_OUT or field.name not in parts:
            continue
        tag = _varint(field.number << 3 | _LENGTH_DELIMITED)
        if field.is_repeated:
            order = recording_pb2.RecordedOrder.FromString(parts[field.name])
            keys = dict.fromkeys(order.keys)  # a key named often would be its value as often
            values = [parts[name] for key in keys if (name := f"{field.name}/{key}") in parts]
        else:
            layout = parts.get(f"{field.name}/{LAYOUT}")
            values = [parts[field.name], *([layout] if layout is not None else [])]
        for value in values:
            yield tag + _varint(len(value)) + value


def _key(element: Message, taken: Mapping[str, None]) -> str:
    """Return the element's identity: its first field where that is one, else its first text."""
    descriptor: Descriptor = element.DESCRIPTOR
    fields = sorted(descriptor.fields, key=lambda field: int(field.number))
    named = [field for field in fields if field.type in _IDENTITIES and not field.is_repeated]
    first = fields[0] if named and fields[0] in named else None
    texts = [field for field in named if field.type == FieldDescriptor.TYPE_STRING]
    identity = first or (texts[0] if texts else None)
    name = quote(str(getattr(element, identity.name)), safe="") if identity is not None else ""
    key, number = name, 1
    while key in taken:
        number += 1
        key = f"{name}~{number}"
    return key


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


# --- ages ------------------------------------------------------------------------------------


def grow_older(message: Message, seconds: float) -> None:
    """Add to every age within a message what has passed since it was recorded.

    An age below 0 is that of what never was.
    """
    if seconds <= 0:
        return
    has_age, children = _aging(message.DESCRIPTOR)
    if has_age and getattr(message, "age_seconds") >= 0:  # noqa: B009 - of any message
        setattr(message, "age_seconds", getattr(message, "age_seconds") + seconds)  # noqa: B009, B010
    for name, is_repeated in children:
        if is_repeated:
            for child in getattr(message, name):
                grow_older(child, seconds)
        elif message.HasField(name):
            grow_older(getattr(message, name), seconds)


@cache
def _aging(descriptor: Descriptor) -> tuple[bool, tuple[tuple[str, bool], ...]]:
    """Return whether a kind of message has an age, and its fields within which there are some."""
    return "age_seconds" in descriptor.fields_by_name, tuple(
        (field.name, field.is_repeated)
        for field in descriptor.fields
        if field.message_type is not None
        and not field.message_type.GetOptions().map_entry
        and _ages_within(field.message_type, frozenset())
    )


def _ages_within(descriptor: Descriptor, above: frozenset[str]) -> bool:
    if descriptor.full_name in above:
        return False
    inside = above | {descriptor.full_name}
    return "age_seconds" in descriptor.fields_by_name or any(
        field.message_type is not None and _ages_within(field.message_type, inside)
        for field in descriptor.fields
    )
