"""Sum of gradients over the ranks of one run, through a Unix socket at rank 0."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
MEET_SECONDS = 60.0
PEER_SECONDS = 120.0  # a peer that says nothing for so long is gone
_HEAD = struct.Struct("<qq")  # rank or step, bytes


class PeerLostError(Exception):
    """Another rank has gone; training cannot go on without it."""


class Ranks:
    """All ranks of a run, who add up what each has, in the order of their numbers.

    Raises:
        PeerLostError: They did not all meet within MEET_SECONDS.
    """

    def __init__(self, path: Path, rank: int, world_size: int) -> None:
        self._rank = rank
        self._peers: list[socket.socket] = []
        if world_size == 1:
            return
        if rank == 0:
            self._listen(path, world_size - 1)
        else:
            self._dial(path)

    def _listen(self, path: Path, count: int) -> None:
        path.unlink(missing_ok=True)
        found: dict[int, socket.socket] = {}
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(MEET_SECONDS)
            with _short(path) as name:
                server.bind(name)
            server.listen(count)
            while len(found) < count:
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    raise PeerLostError(f"{len(found)}/{count} other ranks came") from None
                peer.settimeout(PEER_SECONDS)
                found[_HEAD.unpack(_receive(peer, _HEAD.size))[0]] = peer
        self._peers = [found[rank] for rank in sorted(found)]

    def _dial(self, path: Path) -> None:
        deadline = time.monotonic() + MEET_SECONDS
        while True:
            peer = socket.socket(socket.AF_UNIX)
            try:
                with _short(path) as name:
                    peer.connect(name)
                break
            except OSError:
                peer.close()
                if time.monotonic() > deadline:
                    raise PeerLostError("rank 0 did not come") from None
                time.sleep(0.02)
        peer.settimeout(PEER_SECONDS)
        peer.sendall(_HEAD.pack(self._rank, 0))
        self._peers = [peer]

    def sum(self, own: Array) -> Array:
        """Return the sum of every rank's array; each rank gets the same bits.

        Raises:
            PeerLostError: A rank has gone.
        """
        if not self._peers:
            return own
        try:
            if self._rank == 0:
                total = own.copy()
                for peer in self._peers:
                    total += np.frombuffer(_receive(peer, own.nbytes))
                for peer in self._peers:
                    peer.sendall(total.tobytes())
                return total
            self._peers[0].sendall(own.tobytes())
            return np.frombuffer(_receive(self._peers[0], own.nbytes)).copy()
        except (OSError, EOFError) as error:
            raise PeerLostError(f"a rank has gone: {error!r}") from None

    def close(self) -> None:
        """Leave."""
        for peer in self._peers:
            peer.close()


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of a socket that fits the kernel's 107 bytes however deep its folder lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _receive(peer: socket.socket, size: int) -> bytes:
    parts, left = [], size
    while left:
        part = peer.recv(min(left, 1 << 20))
        if not part:
            raise EOFError("the peer closed")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
