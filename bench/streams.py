"""A gRPC stream with as little of Python as can be: the nodes must not take the hub's processor.

What goes over the socket is HTTP/2 (RFC 9113) with gRPC's length-prefixed messages, one connection
a stream; a client of grpcio costs several times of it a message.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM = ACKNOWLEDGED = 1
END_HEADERS = 4
WINDOW = (1 << 31) - 1
RECEIVE_BYTES = 65_536


class Stream:
    """One call on a connection of its own; a message is bytes."""

    def __init__(self, address: tuple[str, int], method: str) -> None:
        self.socket = socket.create_connection(address, 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""  # less than a frame
        self._data = b""  # less than a message
        self.socket.sendall(
            PREFACE
            + _frame(SETTINGS, 0, 0, struct.pack(">HIHI", 1, 0, 4, WINDOW))
            + _frame(8, 0, 0, struct.pack(">I", WINDOW - 65_535))
            + _frame(HEADERS, END_HEADERS, 1, _headers(method))
        )
        self.socket.setblocking(False)

    def fileno(self) -> int:
        """Return the socket's, for epoll."""
        return self.socket.fileno()

    def send(self, *messages: bytes) -> None:
        """Write messages; they are small, and the hub reads."""
        parts: list[bytes] = []
        for message in messages:
            size = len(message)
            parts += (_head(size + 5, DATA, 0, 1), b"\0", struct.pack(">I", size), message)
        self.socket.sendall(b"".join(parts))

    def receive(self) -> Iterator[bytes]:
        """Yield what has come.

        Raises:
            ConnectionError: The hub ended the stream.
        """
        try:
            received = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not received:
            raise ConnectionError("the hub closed the connection")
        self._received += received
        at = 0
        while len(self._received) - at >= 9:
            size = int.from_bytes(self._received[at : at + 3])
            if len(self._received) - at < 9 + size:
                break
            kind, flags = self._received[at + 3], self._received[at + 4]
            body = self._received[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == DATA:
                self._data += body
            else:
                self._control(kind, flags, body)
        self._received = self._received[at:]
        while len(self._data) >= 5:
            size = 5 + int.from_bytes(self._data[1:5])
            if len(self._data) < size:
                return
            yield self._data[5:size]
            self._data = self._data[size:]

    def _control(self, kind: int, flags: int, body: bytes) -> None:
        if kind in (SETTINGS, PING) and not flags & ACKNOWLEDGED:
            answer = body if kind == PING else b""
            self.socket.sendall(_frame(kind, ACKNOWLEDGED, 0, answer))
        if kind in (RESET, GOAWAY) or (kind == HEADERS and flags & END_STREAM):
            raise ConnectionError(f"the hub ended the stream: frame {kind} {body[:200]!r}")

    def close(self) -> None:
        """Break the connection."""
        self.socket.close()


def _headers(method: str) -> bytes:
    """Return a request's headers, none of them indexed or compressed (RFC 7541, 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(
        b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode())
        for name, value in fields.items()
    )


def _head(size: int, kind: int, flags: int, stream: int) -> bytes:
    return struct.pack(">BHBBI", size >> 16, size & 0xFFFF, kind, flags, stream)


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return _head(len(body), kind, flags, stream) + body
