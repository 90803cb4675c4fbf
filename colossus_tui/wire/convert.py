"""Conversion between model dataclasses and protobuf messages, by field name.

A plan is made once per type from the dataclass's annotations, so that adding a field means
adding it to the .proto and to the dataclass. Enum members correspond by name; an unspecified
or unknown enum value is None where the field allows it, otherwise the field's default.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias, TypeVar

from google.protobuf import message_factory
from google.protobuf.message import Message

# The runtime has two descriptor implementations and its stubs name only one of each pair.
Descriptor: TypeAlias = Any

M = TypeVar("M", bound=Message)
D = TypeVar("D")

Decode = Callable[[Any], Any]
Encode = Callable[[Message, Any], None]


def from_proto(model: type[D], message: Message) -> D:
    """Return `message` as an instance of the dataclass `model`."""
    kinds: tuple[Any, Any] = (model, type(message))
    return typing.cast("D", _decoder(*kinds)(message))


def to_proto(message_type: type[M], value: object) -> M:
    """Return the dataclass instance `value` as a `message_type`."""
    kinds: tuple[Any, Any] = (type(value), message_type)
    message = message_type()
    for encode in _encoders(*kinds):
        encode(message, value)
    return message


@cache
def _decoder(model: type[Any], message_type: type[Message]) -> Decode:
    plan = [
        (name, *_field_decoder(annotation, message_type, name))
        for name, annotation in _fields(model)
    ]

    def decode(message: Message) -> Any:
        values: dict[str, Any] = {}
        for name, has_presence, convert in plan:
            if has_presence and not message.HasField(name):
                continue
            value = convert(getattr(message, name))
            if value is not _ABSENT:
                values[name] = value
        return model(**values)

    return decode


_ABSENT = object()  # leaves a field at the dataclass's default


def _field_decoder(
    annotation: Any, message_type: type[Message], name: str
) -> tuple[bool, Callable[[Any], Any]]:
    descriptor: Descriptor = message_type.DESCRIPTOR.fields_by_name[name]
    inner, is_optional = _unwrap(annotation)
    presence = descriptor.has_presence
    if _is_map(descriptor):
        return False, dict
    if descriptor.is_repeated:
        element = typing.get_args(inner)[0]
        if descriptor.message_type is not None:
            convert = _decoder(element, _class_of(descriptor))
            return False, lambda values: tuple([convert(value) for value in values])
        return False, tuple
    if descriptor.message_type is not None:
        return True, _decoder(inner, _class_of(descriptor))
    if descriptor.enum_type is not None:
        table = _enum_table(inner, descriptor.enum_type)
        absent = None if is_optional else _ABSENT
        return presence, lambda number: table.get(number, absent)
    return presence, lambda value: value


@cache
def _encoders(model: type[Any], message_type: type[Message]) -> tuple[Encode, ...]:
    return tuple(
        _field_encoder(name, annotation, message_type) for name, annotation in _fields(model)
    )


def _field_encoder(name: str, annotation: Any, message_type: type[Message]) -> Encode:
    descriptor: Descriptor = message_type.DESCRIPTOR.fields_by_name[name]
    inner, _ = _unwrap(annotation)
    if _is_map(descriptor):
        return lambda message, value: getattr(message, name).update(getattr(value, name))
    if descriptor.is_repeated:
        return _repeated_encoder(name, descriptor)
    if descriptor.message_type is not None:
        child = _class_of(descriptor)

        def encode_message(message: Message, value: Any) -> None:
            part = getattr(value, name)
            if part is not None:
                getattr(message, name).CopyFrom(to_proto(child, part))

        return encode_message
    if descriptor.enum_type is not None:
        numbers = {
            member: number for number, member in _enum_table(inner, descriptor.enum_type).items()
        }

        def encode_enum(message: Message, value: Any) -> None:
            member = getattr(value, name)
            if member is not None:
                setattr(message, name, numbers[member])

        return encode_enum

    def encode_scalar(message: Message, value: Any) -> None:
        scalar = getattr(value, name)
        if scalar is not None:
            setattr(message, name, scalar)

    return encode_scalar


def _repeated_encoder(name: str, descriptor: Descriptor) -> Encode:
    if descriptor.message_type is None:
        return lambda message, value: getattr(message, name).extend(getattr(value, name))
    child = _class_of(descriptor)

    def encode(message: Message, value: Any) -> None:
        getattr(message, name).extend([to_proto(child, part) for part in getattr(value, name)])

    return encode


def _fields(model: type[Any]) -> list[tuple[str, Any]]:
    hints = typing.get_type_hints(model)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(model)]


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    if isinstance(annotation, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        return members[0], True
    return annotation, False


def _is_map(descriptor: Descriptor) -> bool:
    kind = descriptor.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _class_of(descriptor: Descriptor) -> Any:
    return message_factory.GetMessageClass(descriptor.message_type)


def _enum_table(enum: type[StrEnum], descriptor: Descriptor) -> Mapping[int, StrEnum]:
    """Map numbers to members; MISSING_REASON_STUCK corresponds to MissingReason.STUCK."""
    first = descriptor.values[0].name
    prefix = first.removesuffix("UNSPECIFIED")
    return {
        value.number: enum[value.name.removeprefix(prefix)]
        for value in descriptor.values
        if value.number != 0
    }
