"""The hub's composition: parts, server, tick; nothing else decides how they fit together."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from functools import partial

from colossus_tui.hub.actions.drain import Drain
from colossus_tui.hub.actions.engine import Engine
from colossus_tui.hub.actions.gate import Gate
from colossus_tui.hub.actions.service import ActionsService
from colossus_tui.hub.admission import Admission
from colossus_tui.hub.agent_service import AgentService
from colossus_tui.hub.backends.base import Backend
from colossus_tui.hub.backends.local import LocalBackend
from colossus_tui.hub.backends.slurm.backend import SlurmBackend
from colossus_tui.hub.config import HubConfig
from colossus_tui.hub.console_service import ConsoleService
from colossus_tui.hub.database import Database
from colossus_tui.hub.events import Events
from colossus_tui.hub.export.config import PrometheusConfig
from colossus_tui.hub.facility.live import Facility
from colossus_tui.hub.gpus import RunGpuFigures
from colossus_tui.hub.incidents.conditions import RunConditions, SiteConditions
from colossus_tui.hub.incidents.keeper import Incidents
from colossus_tui.hub.incidents.places import Places
from colossus_tui.hub.incidents.service import IncidentsService
from colossus_tui.hub.incidents.sources import NodeSources
from colossus_tui.hub.incidents.timeline import Timelines
from colossus_tui.hub.intake import Intake
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.links import Links
from colossus_tui.hub.money.idle import Idle
from colossus_tui.hub.money.ledger import Ledger
from colossus_tui.hub.money.site import SiteCosts
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.peers.hand_on import SharedActions
from colossus_tui.hub.peers.live import Peers, advertised
from colossus_tui.hub.peers.merged import SharedConsole
from colossus_tui.hub.peers.registry import HubRegistry
from colossus_tui.hub.recording.rolling import Rolling
from colossus_tui.hub.recording.service import RecorderService
from colossus_tui.hub.relay import Relay
from colossus_tui.hub.relay_service import RelayService
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.server import make_server
from colossus_tui.hub.shed.loads import Loads
from colossus_tui.hub.shed.restoring import Restoring
from colossus_tui.hub.shed.shedding import Shedding
from colossus_tui.hub.shed.verbs import SiteVerbs
from colossus_tui.hub.site.limits import Limits
from colossus_tui.hub.site.maps import Maps
from colossus_tui.hub.site.power import Power
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.site.sums import NodePower
from colossus_tui.hub.site.troubles import Troubles
from colossus_tui.hub.status import Status
from colossus_tui.hub.storage import open_storage
from colossus_tui.hub.store import Store
from colossus_tui.hub.views import Views
from colossus_tui.lifeline import watch_lifeline

LOG = logging.getLogger(__name__)
STOP_GRACE_SECONDS = 1.0
EXPIRE_SECONDS = 3_600.0
ACKNOWLEDGE_TICKS = 10  # a message to each agent each second would cost it a tenth of its time


class Hub:
    """One hub: everything between its address and its file."""

    def __init__(self, config: HubConfig) -> None:
        self._config = config
        file = config.state_dir / "hub" / "hub.sqlite3"
        self._database = Database(open_storage(config.store, config.hub_name, file))
        self._events = Events(self._database)
        self._journal = Journal(self._database)
        self._store = Store()
        self._nodes = Nodes(self._store)
        self._links = Links()
        self._gpus = RunGpuFigures(self._store, self._nodes)
        self._roll_ups = RollUps(self._store, self._nodes)
        self._facility = Facility(config.facility, config.cooling_loops)
        sums = NodePower(self._store, self._roll_ups, config.feeds)
        self._power = Power(self._store, sums, self._facility, config.limits, config.feeds)
        self._limits = Limits(config.limits, config.feeds, self._power)
        self._troubles = Troubles(self._roll_ups)
        self._gpus.troubles = self._troubles.of
        self._ledger = Ledger(config.prices, self._store, self._gpus)
        self._idle = Idle(self._store, self._nodes, self._ledger)
        self._registry = Registry(
            self._database,
            self._events,
            config.runs,
            self._links.linked,
            self._nodes,
            self._gpus,
            priced=self._ledger.priced,
        )
        self._roll_ups.rates = self._registry.rates
        self._backends = self._make_backends()
        holding: dict[str, str] = {}
        self._drain = Drain(self._registry, self._backends, self._registry.all)
        loads = Loads(self._registry.all, self._registry, self._store, self._roll_ups, config.shed)
        name, site = config.site_name, self._power.site
        site_verbs = SiteVerbs(
            Shedding(name, loads, config.shed, self._journal, site),
            Restoring(name, self._registry, self._journal, site),
            name,
        )
        self._gate = Gate(
            self._registry,
            self._backends,
            config.runs,
            config.rules,
            holding,
            self._drain,
            site_verbs,
        )
        self._engine = Engine(self._registry, self._events, self._journal, self._gate, holding)
        self._relay: Relay | None = None
        if config.relay_to:
            self._relay = Relay(config.relay_to, config.relay_name, self._nodes, self._links)
        upward = self._relay.upstream if self._relay is not None else None
        self._intake = Intake(
            self._store, self._nodes, self._links, self._registry, self._events, upward
        )
        self._admission = Admission()
        self._relays = RelayService(self._intake)
        self._status = Status(self._store, self._links, self._relays, self._relay)
        self._peers: Peers | None = None
        if self._database.hub:
            self._peers = Peers(HubRegistry(self._database), self._registry, self._events)
        self._incidents = self._make_incidents()
        folder = config.state_dir / "hub" / "recording"
        self._rolling = Rolling(config.recording, folder, self._events)
        self._ticks = 0

    def _make_incidents(self) -> Incidents:
        """Return the incidents with all that they look at."""
        store, nodes, registry, began = self._store, self._nodes, self._registry, time.time()
        has_owner = self._drain.has_owner
        return Incidents(
            self._config.alerts,
            self._database,
            self._events.add,
            Places(store, nodes, registry.runs_on, can_drain=has_owner, feeds=self._config.feeds),
            NodeSources(store, nodes, self._events, self._drain.cordoned, began),
            RunConditions(store, nodes, registry, self._gpus, self._troubles, can_drain=has_owner),
            SiteConditions(self._limits, self._database, self._roll_ups.runs_in, self._facility),
            began,
        )

    def _make_backends(self) -> dict[str, Backend]:
        """Return every backend that the settings ask for, by name."""
        registry, links, slurm = self._registry, self._links, self._config.slurm
        backends: list[Backend] = [LocalBackend(registry, links)]
        if slurm is not None:
            backends.append(SlurmBackend(slurm, registry, registry, links, self._events))
        kubernetes = self._config.kubernetes
        if kubernetes is not None:
            # Its client library is an extra, and slow to load.
            from colossus_tui.hub.backends.kubernetes.backend import KubernetesBackend

            backends.append(KubernetesBackend(kubernetes, registry, registry, links, self._events))
        return {backend.name: backend for backend in backends}

    def _revision(self) -> int:
        return (
            self._registry.revision
            + self._nodes.revision
            + self._engine.revision
            + self._events.last_event_id
            + self._ticks
            + (self._peers.revision if self._peers is not None else 0)
        )

    async def run(self) -> None:
        """Serve until cancelled; what is in memory only is on disk when this returns."""
        config = self._config
        views = Views(
            config.site_name,
            self._store,
            self._nodes,
            self._links,
            self._registry,
            self._events,
            self._journal,
            self._gpus,
            self._roll_ups,
            self._limits,
            self._power,
            self._drain.standing,
            self._drain.cordoned,
            SiteCosts(self._store, self._roll_ups, self._ledger, self._idle),
            self._incidents.counts,
        )
        make_console: Callable[..., ConsoleService] = ConsoleService
        make_actions: Callable[..., ActionsService] = ActionsService
        if self._peers is not None:
            make_console = partial(SharedConsole, self._peers)
            make_actions = partial(SharedActions, self._peers)
        console = make_console(
            views,
            self._registry,
            self._events,
            self._journal,
            self._revision,
            config.tcp_role,
            Maps(self._store, self._nodes, self._registry, self._roll_ups),
            self._roll_ups,
            self._status,
            self._incidents,
            Timelines(
                self._database,
                self._journal,
                self._incidents.book,
                self._registry,
                self._roll_ups,
            ),
        )
        actions = make_actions(self._engine, self._gate, self._journal, config.tcp_role)
        server, port = await make_server(
            config,
            AgentService(self._intake, self._admission),
            self._relays,
            console,
            actions,
            IncidentsService(self._incidents, config.tcp_role),
            RecorderService(self._rolling),
        )
        if config.port_file is not None:
            config.port_file.write_text(f"{port}\n")
        LOG.info("hub=up listen=%s port=%s", ",".join(config.listen), port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._database.run(self._events.add))
                tasks.create_task(self._tick())
                tasks.create_task(self._engine.run())
                tasks.create_task(self._facility.run())
                tasks.create_task(self._rolling.run(console, actions))
                if self._peers is not None:
                    tasks.create_task(self._peers.run(advertised(config, port)))
                if self._relay is not None:
                    tasks.create_task(self._relay.upstream.run())
                if self._config.prometheus is not None:
                    tasks.create_task(self._export(self._config.prometheus))
                for backend in self._backends.values():
                    tasks.create_task(backend.discover())
        finally:
            await server.stop(STOP_GRACE_SECONDS)
            await self._flush(is_last=True)
            self._database.close()

    async def _export(self, config: PrometheusConfig) -> None:
        """Write figures to a Prometheus-compatible store."""
        from colossus_tui.hub.export.exporter import Exporter  # its compression is an extra

        store, nodes = self._store, self._nodes
        await Exporter(config, store, nodes, self._roll_ups, self._events).run()

    async def _tick(self) -> None:
        """Once a second: account time, write what is new, then tell agents what is safe."""
        last = expired = time.monotonic()
        while True:
            wait = seconds_to_tick(time.time(), self._config.tick_seconds)
            due = time.monotonic() + wait
            await asyncio.sleep(wait)
            now = time.monotonic()
            lag = now - due
            self._account(now - last)
            self._roll_ups.tick()
            self._idle.tick(self._registry.runs)
            self._power.tick()
            self._limits.tick()
            self._troubles.tick(self._registry.runs, now)
            self._status.tick(lag, self._roll_ups.seconds)
            self._registry.tick(now - last)
            self._incidents.tick(time.time(), now)
            self._ticks += 1
            last = now
            if self._relay is not None:
                self._relay.tick()
            await self._flush(self._ticks % ACKNOWLEDGE_TICKS)
            if now - expired > EXPIRE_SECONDS:
                expired = now
                await self._events.expire()
                await self._incidents.expire()

    def _account(self, seconds: float) -> None:
        """Keep each run's power, and add up what it costs."""
        for run_id, run in self._registry.runs.items():
            figures = self._gpus.of(run_id)
            if figures.power_watts is not None:
                run.history.add_rate("power_watts", time.time_ns(), figures.power_watts)
            self._ledger.add(run, figures, seconds)

    async def _flush(self, turn: int | None = None, *, is_last: bool = False) -> None:
        """Write what is new; then agents and relays may forget what was taken in before.

        Args:
            turn: Which share of the agents are told so now: all at once would be a burst.
            is_last: Write also what could wait.
        """
        lows = self._nodes.sequences.low
        direct = self._links.direct_names()[turn::ACKNOWLEDGE_TICKS] if turn is not None else ()
        received = {name: int(lows[self._nodes.records[name].rows.node_row]) for name in direct}
        taken = self._relays.taken()
        await self._registry.flush(is_last=is_last)
        await self._events.flush()
        await self._journal.flush()
        await self._incidents.flush()
        if self._database.is_behind:
            return  # agents and relays keep what they sent until it is on disk
        self._relays.acknowledge(taken)
        if self._relay is not None:
            self._relay.keep(received)
            return
        for name, sequence in received.items():
            self._links.acknowledge(name, sequence)


def seconds_to_tick(wall: float, period: float) -> float:
    """Return the time to the next tick: half a period after agents measure, on the wall clock.

    What they measured at a whole period is there by then, and no burst of it is under way. At least
    half a period: a timer that fires a little early must not fire twice.
    """
    wait = period - (wall - period / 2) % period
    return wait if wait >= period / 2 else wait + period


async def serve(config: HubConfig) -> int:
    """Run a hub until a signal, or until its lifeline ends."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if config.lifeline:
        watch_lifeline(lambda: loop.call_soon_threadsafe(task.cancel))
    try:
        await Hub(config).run()
    except asyncio.CancelledError:
        return 0
    return 1
