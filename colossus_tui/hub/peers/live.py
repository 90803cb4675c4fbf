"""The other hubs, live: asked once a second for all consoles; whose a run or an action is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import grpc
import grpc.aio

from colossus_protos.v1 import action_pb2_grpc, console_pb2, console_pb2_grpc
from colossus_tui.hub.config import ConfigError, HubConfig, parse_listen
from colossus_tui.hub.database import DatabaseAwayError
from colossus_tui.hub.events import Events
from colossus_tui.hub.journal import KEPT_IN_MEMORY
from colossus_tui.hub.peers.registry import HubRegistry, HubRow
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.model import Action, Event, Severity
from colossus_tui.wire import to_proto

ASK_SECONDS, ANSWER_SECONDS = 1.0, 2.0
BEAT_SECONDS = 2.0
LEAVING_SECONDS = 5.0  # longer than any single answer is waited for
HANDED_ON = "colossus-handed-on"  # metadata: answer for yourself, do not hand it on again
OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
)


def advertised(config: HubConfig, port: int) -> str:
    """Return where other hubs reach this one.

    Args:
        port: The TCP port that it got.
    """
    if config.advertise:
        return config.advertise
    tcp = next((one for one in config.listen if not one.startswith("unix:")), "")
    if not tcp:
        return config.listen[0]
    host, _, asked = tcp.rpartition(":")
    return tcp if int(asked) else f"{host}:{port}"


class Peer:
    """One other hub.

    Attributes:
        failure: Why it did not answer the last question; "" when it did.
        runs: By their names there, as it last told them; else as the database has them.
    """

    def __init__(self, row: HubRow) -> None:
        self.row = row
        self.failure = "it was not asked yet"
        self.runs: dict[str, console_pb2.Run] = {}
        self.site: console_pb2.Site | None = None
        self.is_closed = False
        self._answered: float | None = None
        self._channel = grpc.aio.insecure_channel(row.address, options=OPTIONS)
        self.console = console_pb2_grpc.ConsoleStub(self._channel)
        self.actions = action_pb2_grpc.ActionsStub(self._channel)

    @property
    def hub(self) -> str:
        """Its name."""
        return self.row.hub

    @property
    def age_seconds(self) -> float:
        """How old is what is known of it."""
        seen = self.row.beat_seen if self._answered is None else self._answered
        return max(time.monotonic() - seen, 0.0)

    @property
    def away(self) -> str:
        """Why it cannot be asked now, in words; "" while it answers."""
        if not self.failure:
            return ""
        since = f"{self.age_seconds:.0f} s"
        return f"hub {self.hub} does not answer, last seen {since} ago: {self.failure}"

    async def ask(self, hub: str) -> None:
        """Ask for its site and runs."""
        try:
            parse_listen(self.row.address)
            answer = await self.console.ListRuns(
                console_pb2.ListRunsRequest(), metadata=((HANDED_ON, hub),), timeout=ANSWER_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            self.failure = _failure(error, self.row.address)
        except ConfigError as error:  # a database's word is no reason to leave this machine
            self.failure = str(error)
        else:
            self.failure, self._answered = "", time.monotonic()
            self.site = answer.site
            self.runs = {run.run_id: run for run in answer.runs}

    def moved(self, row: HubRow) -> Peer:
        """Return the same hub at another address."""
        peer = Peer(row)
        peer.runs, peer.site, peer._answered = self.runs, self.site, self._answered
        return peer

    async def close(self, grace_seconds: float | None = None) -> None:
        """Close the channel, once what is asked over it is answered."""
        self.is_closed = True
        await self._channel.close(grace_seconds)


def _failure(error: grpc.aio.AioRpcError, address: str) -> str:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return f"nobody answers at {address}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"no answer within {ANSWER_SECONDS:g} s from {address}"
        case code:
            return f"{code.name}: {error.details()}"[:200]


class Peers:
    """All other hubs of the database, and what is theirs."""

    def __init__(self, shared: HubRegistry, registry: Registry, events: Events) -> None:
        self.shared = shared
        self._registry = registry
        self._events = events
        self._peers: dict[str, Peer] = {}
        self._actions: dict[str, tuple[str, Action]] = {}  # the others', the newest
        self._told: set[tuple[str, str]] = set()
        self._met = asyncio.Event()  # a hub that has not been asked yet
        self.revision = 0

    # --- keeping up ------------------------------------------------------------------------

    async def run(self, address: str) -> None:
        """Tell the others of this hub, and keep up with them, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat(address))
                tasks.create_task(self._read())
                tasks.create_task(self._ask())
        finally:
            for peer in self._peers.values():
                await peer.close()

    async def _beat(self, address: str) -> None:
        while True:
            with suppress(DatabaseAwayError):
                await self.shared.beat(address)
            await asyncio.sleep(BEAT_SECONDS)

    async def _read(self) -> None:
        while True:
            with suppress(DatabaseAwayError):  # what was read stays, and ages
                await self._meet(await self.shared.others())
                for peer in list(self._peers.values()):
                    await self._read_from(peer)
            await asyncio.sleep(ASK_SECONDS)

    async def _meet(self, rows: Iterable[HubRow]) -> None:
        """Take up who is new, and let go of who has moved or is gone."""
        peers: dict[str, Peer] = {}
        for row in rows:
            peer = self._peers.get(row.hub)
            if peer is None:
                peer = Peer(row)
                runs = await self.shared.runs(row.hub)
                for run in runs:
                    with suppress(ValueError):  # a number that no message holds
                        peer.runs[run.run_id] = to_proto(console_pb2.Run, run)
                self._met.set()
            elif peer.row.address != row.address:
                peer = peer.moved(row)
            peer.row = row
            peers[row.hub] = peer
        before, self._peers = self._peers, peers
        for hub, peer in before.items():
            if peers.get(hub) is not peer:
                await peer.close(LEAVING_SECONDS)

    async def _read_from(self, peer: Peer) -> None:
        for number, body in await self.shared.new_events(peer.hub, self._events.seen(peer.hub)):
            self._events.add_other(peer.hub, number, body)
        for action in await self.shared.new_actions(peer.hub):
            if self._actions.get(action.action_id) != (peer.hub, action):
                self.take_action(peer.hub, action)
        while len(self._actions) > 2 * KEPT_IN_MEMORY:
            oldest = min(self._actions.values(), key=lambda one: one[1].requested_time_unix_ns)
            del self._actions[oldest[1].action_id]

    async def _ask(self) -> None:
        while True:
            self._met.clear()
            peers = list(self._peers.values())
            await asyncio.gather(*(peer.ask(self.shared.hub) for peer in peers))
            for peer in peers:
                self._tell_twice(peer)
            self.revision += bool(peers)
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_SECONDS):
                    await self._met.wait()

    def _tell_twice(self, peer: Peer) -> None:
        for run_id in peer.runs:
            if run_id in self._registry.runs and (peer.hub, run_id) not in self._told:
                self._told.add((peer.hub, run_id))
                what = f"hub {peer.hub} has a run of this name too; here it is {run_id}@{peer.hub}"
                self._events.add(Event(0, 0, Severity.WARNING, "run.twice", what, run_id=run_id))

    # --- whose it is -----------------------------------------------------------------------

    def get(self, hub: str) -> Peer | None:
        """Return another hub."""
        return self._peers.get(hub)

    def all(self) -> list[Peer]:
        """Return every other hub."""
        return list(self._peers.values())

    def resolve(self, run_id: str) -> tuple[Peer | None, str]:
        """Return whose run it is and its name there; None for this hub's, and nobody's.

        A plain name is this hub's run, else that of the hub where it began first; NAME@HUB says
        which.
        """
        name, at, hub = run_id.partition("@")
        if at and hub == self.shared.hub:
            return None, name
        if at:
            peer = self._peers.get(hub)
            return (peer, name) if peer is not None and name in peer.runs else (None, run_id)
        if run_id in self._registry.runs:
            return None, run_id
        owners = [peer for peer in self._peers.values() if run_id in peer.runs]
        first = min(
            owners,
            key=lambda peer: (peer.runs[run_id].started_time_unix_ns, peer.hub),
            default=None,
        )
        return first, run_id

    def shown_name(self, hub: str, run_id: str) -> str:
        """Return how another hub's run is called here."""
        peer, _ = self.resolve(run_id)
        return run_id if not run_id or (peer is not None and peer.hub == hub) else f"{run_id}@{hub}"

    async def action(self, action_id: str) -> tuple[str, Action] | None:
        """Return another hub's action and that hub; None when it is this one's, or nobody's.

        Raises:
            DatabaseAwayError: It is not in memory, and the database is away.
        """
        known = self._actions.get(action_id) or await self.shared.action(action_id)
        return known if known is not None and known[0] != self.shared.hub else None

    def take_action(self, hub: str, action: Action) -> None:
        """Take what another hub has just answered; the database has it too."""
        self._actions[action.action_id] = (hub, action)
        self.revision += 1

    def recent_actions(self) -> list[Action]:
        """Return the other hubs' newest actions."""
        return [self.shown_action(hub, action) for hub, action in self._actions.values()]

    async def actions_beginning(self, prefix: str) -> list[Action]:
        """Return the other hubs' actions whose identity begins so."""
        return [self.shown_action(*one) for one in await self.shared.beginning(prefix)]

    def shown_action(self, hub: str, action: Action) -> Action:
        """Return another hub's action with its run as it is called here."""
        return replace(action, run_id=self.shown_name(hub, action.run_id))
