"""The site and the state that one console shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from colossus_tui.model.action import Action
from colossus_tui.model.curve import Curve
from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.event import Alert, Event
from colossus_tui.model.incident import Incident
from colossus_tui.model.money import IdleView, SiteMoney
from colossus_tui.model.node import Node, NodeDetail
from colossus_tui.model.playback import Playback
from colossus_tui.model.power import PowerView
from colossus_tui.model.run import Run, RunDetail, Series
from colossus_tui.model.site import NamedLimit, SiteMap


@dataclass(frozen=True, slots=True)
class Header:
    """What the hub says of itself; role is "operator" or "viewer"."""

    revision: int = 0
    time_unix_ns: int = 0
    hub_version: str = ""
    role: str = "viewer"


@dataclass(frozen=True, slots=True)
class LinkedRelay:
    """A relay that is linked to the hub."""

    relay_name: str
    node_count: int = 0
    last_batch: int = 0


@dataclass(frozen=True, slots=True)
class Hub:
    """How the hub itself fares; meanings and units as in console.proto."""

    hub_version: str = ""
    started_time_unix_ns: int = 0
    frame_count: int = 0
    direct_link_count: int = 0
    relays: tuple[LinkedRelay, ...] = ()
    parent: str = ""
    dropped_batch_count: int = 0
    roll_up_seconds: float = 0.0
    roll_up_seconds_max: float = 0.0
    tick_lag_seconds_max: float = 0.0
    resident_bytes: int = 0
    cpu_seconds: float = 0.0
    watcher_count: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """The site in one line, with what its sums cover."""

    site_name: str = ""
    node_count: int = 0
    reporting_node_count: int = 0
    gpu_count: int = 0
    reporting_gpu_count: int = 0
    power_watts: float | None = None
    power_basis: str = ""
    power_node_count: int = 0
    run_counts: Mapping[str, int] = field(default_factory=dict)
    age_seconds: float = 0.0
    cpu_utilisation_ratio: float | None = None
    alerts: tuple[Alert, ...] = ()
    limits: tuple[NamedLimit, ...] = ()
    money: SiteMoney = field(default_factory=SiteMoney)
    open_incident_count: int = 0
    critical_incident_count: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """One state of what a console shows; parts not asked for are empty or None."""

    header: Header
    site: Site | None = None
    runs: tuple[Run, ...] = ()
    nodes: tuple[Node, ...] = ()
    run: RunDetail | None = None
    node: NodeDetail | None = None
    events: tuple[Event, ...] = ()
    actions: tuple[Action, ...] = ()
    series: tuple[Series, ...] = ()
    skipped_count: int = 0
    map: SiteMap | None = None
    playback: Playback | None = None  # of a replay
    idle: IdleView | None = None
    curves: tuple[Curve, ...] = ()
    power: PowerView | None = None
    incidents: tuple[Incident, ...] = ()
