"""A whole service from an object that answers only some of its calls by their name."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

# The runtime has two descriptor implementations and its stubs name only one of each pair.
Descriptor: TypeAlias = Any


class Answering(Protocol):
    """What answers calls: methods by their names, and one for all others."""

    def other(self, kind: type[Message], context: Any) -> Awaitable[Message]:
        """Answer with a message of this kind, or refuse."""


def answering(service: Descriptor, answers: Answering) -> grpc.GenericRpcHandler[Any, Any]:
    """Return a handler of every call that the contracts know, those to come as well."""
    return grpc.method_handlers_generic_handler(
        service.full_name, {method.name: _handler(method, answers) for method in service.methods}
    )


def _handler(method: Descriptor, answers: Answering) -> grpc.RpcMethodHandler[Any, Any]:
    asked = message_factory.GetMessageClass(method.input_type)
    answered = message_factory.GetMessageClass(method.output_type)
    own = getattr(answers, method.name, None)
    if method.server_streaming and own is not None:
        make = grpc.unary_stream_rpc_method_handler
    else:
        make = grpc.unary_unary_rpc_method_handler
    call = own or partial(_other, answers, answered)
    return make(
        call,
        request_deserializer=asked.FromString,
        response_serializer=answered.SerializeToString,
    )


async def _other(
    answers: Answering, kind: type[Message], request: Message, context: Any
) -> Message:
    del request
    return await answers.other(kind, context)
