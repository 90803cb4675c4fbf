"""What can go wrong between a client and its hub.

ColossusError
  HubUnreachableError   nobody answers there
  DeadlineError         the hub did not answer in time
  NotFoundError         no such run, node or action
  InvalidRequestError   a field of the request is wrong
  RefusedError          the hub refused an action
  NotPermittedError     the caller may only look
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colossus_tui.model import Action

if TYPE_CHECKING:
    import grpc.aio


class ColossusError(Exception):
    """Base of all errors of the client."""


class HubUnreachableError(ColossusError):
    """Nobody answers at the hub's address."""


class DeadlineError(ColossusError):
    """The hub did not answer in time."""


class NotFoundError(ColossusError):
    """There is no such run, node or action."""


class InvalidRequestError(ColossusError):
    """A field of the request is wrong; the message names it."""


class RefusedError(ColossusError):
    """The hub refused an action, or to cancel or approve one; the message says why.

    Attributes:
        action: The action as it is now.
    """

    def __init__(self, action: Action, detail: str = "") -> None:
        super().__init__(detail or action.detail)
        self.action = action


class NotPermittedError(ColossusError):
    """The caller may only look; the message says how to do more."""


def from_rpc(error: grpc.aio.AioRpcError, address: str, timeout: float) -> ColossusError:
    """Return the error that a failed call means to the caller."""
    import grpc

    detail = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return HubUnreachableError(f"no hub answers at {address}; is it running?")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineError(f"the hub at {address} did not answer within {timeout:g} s")
        case grpc.StatusCode.NOT_FOUND:
            return NotFoundError(detail)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidRequestError(detail)
        case grpc.StatusCode.PERMISSION_DENIED:
            return NotPermittedError(detail)
        case code:
            return ColossusError(f"{code.name}: {detail}")
