"""The hub's settings, all checked."""

from __future__ import annotations

import datetime
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colossus_tui.hub.actions import rules
from colossus_tui.hub.actions.rules import Rule
from colossus_tui.hub.backends.kubernetes import config as kubernetes
from colossus_tui.hub.backends.kubernetes.config import KubernetesConfig
from colossus_tui.hub.backends.slurm import config as slurm
from colossus_tui.hub.backends.slurm.config import SlurmConfig
from colossus_tui.hub.export import config as prometheus
from colossus_tui.hub.export.config import PrometheusConfig
from colossus_tui.hub.facility import config as facility
from colossus_tui.hub.facility import loops
from colossus_tui.hub.facility.config import FacilityConfig
from colossus_tui.hub.facility.loops import LoopConfig
from colossus_tui.hub.incidents import rules as alerts
from colossus_tui.hub.incidents.rules import AlertsConfig
from colossus_tui.hub.money import prices
from colossus_tui.hub.money.prices import Prices
from colossus_tui.hub.recording import config as recording
from colossus_tui.hub.recording.config import RecordingConfig
from colossus_tui.hub.shed import config as shed
from colossus_tui.hub.shed.config import ShedConfig
from colossus_tui.hub.site import feeds, limits
from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.hub.site.limits import LimitConfig

RUN_FACTS = (
    "parameters_count",
    "target_steps",
    "target_tokens",
    "watchdog_seconds",
    "checkpoint_plan_seconds",
    "earlier_tokens",
)
SETTINGS = (
    "site_name",
    "tcp_role",
    "relay_to",
    "relay_name",
    "store",
    "hub_name",
    "advertise",
    "runs",
    "rules",
    "limits",
    "shed",
    "prices",
    "feeds",
    "cooling_loops",
    "facility",
    "alerts",
    "slurm",
    "kubernetes",
    "prometheus",
    "recording",
)
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


class ConfigError(ValueError):
    """A setting is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What the site's settings say of one run."""

    facts: Mapping[str, float] = field(default_factory=dict)
    protected: bool = False
    flex_tier: int | None = None  # None: as its class has it
    planned_end_unix_ns: int = 0


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Checked settings of one hub."""

    listen: tuple[str, ...]
    state_dir: Path
    site_name: str = "this machine"
    tcp_role: str = "viewer"
    tick_seconds: float = 1.0
    port_file: Path | None = None
    lifeline: bool = False
    relay_to: tuple[str, ...] = ()  # parents, in the order in which to try them
    relay_name: str = ""
    store: str = field(default="", repr=False)  # a PostgreSQL's address; "" for a file
    hub_name: str = ""
    advertise: str = ""  # where other hubs reach this one; "" for where it listens
    runs: Mapping[str, RunConfig] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    limits: tuple[LimitConfig, ...] = ()
    shed: ShedConfig = field(default_factory=ShedConfig)
    prices: Prices | None = None
    feeds: tuple[FeedConfig, ...] = ()
    cooling_loops: tuple[LoopConfig, ...] = ()
    facility: FacilityConfig | None = None
    alerts: AlertsConfig = field(default_factory=AlertsConfig)
    slurm: SlurmConfig | None = None
    kubernetes: KubernetesConfig | None = None
    prometheus: PrometheusConfig | None = None
    recording: RecordingConfig = field(default_factory=RecordingConfig)


def parse_listen(address: str) -> str:
    """Return an address to listen on as gRPC wants it.

    Raises:
        ConfigError: It is malformed, or it is open to other machines, which needs TLS.
    """
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > 107:
            raise ConfigError(
                f"listen {address!r}: an absolute path of at most 107 bytes must follow 'unix:'"
            )
        return address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"listen {address!r}: give unix:/path or 127.0.0.1:PORT")
    bare = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        is_loopback = ipaddress.ip_address(bare).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigError(
            f"listen {address!r}: other machines could reach it, and TLS is not configured; "
            "listen on unix:/path, 127.0.0.1:PORT or [::1]:PORT"
        )
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def parse_parents(text: str) -> tuple[str, ...]:
    """Return the hubs to relay to, in the order in which to try them.

    Raises:
        ConfigError: One is malformed, or it leaves this machine, which needs TLS.
    """
    addresses = tuple(part.strip() for part in text.split(",") if part.strip())
    if text and not addresses:
        raise ConfigError("relay_to: give unix:/path or 127.0.0.1:PORT, several with commas")
    try:
        return tuple(parse_listen(address) for address in addresses)
    except ConfigError:
        raise ConfigError(
            f"relay_to {text!r}: malformed, or it leaves this machine, which needs TLS; TLS is not "
            "configured, so give unix:/path, 127.0.0.1:PORT or [::1]:PORT"
        ) from None


def parse_advertised(address: str) -> str:
    """Return where other hubs reach this one; "" when nothing is said.

    Raises:
        ConfigError: It is malformed, or it leaves this machine, which needs TLS.
    """
    try:
        return parse_listen(address) if address else ""
    except ConfigError as error:
        raise ConfigError(f"advertise: {error}".replace("listen ", "", 1)) from None


def parse_store(address: str) -> str:
    """Return the address of a shared database.

    Raises:
        ConfigError: It is none; what was given is not repeated, it may hold a password.
    """
    if address and not address.startswith(("postgresql://", "postgres://")):
        raise ConfigError("store: give postgresql://USER@HOST/DATABASE, or nothing for a file")
    return address


def read_file(path: str) -> dict[str, Any]:
    """Return the checked settings of a file, by their names.

    Raises:
        ConfigError: It cannot be read or names something unknown.
    """
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"config {path!r}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config {path!r}: {error}") from None
    unknown = sorted(set(values) - set(SETTINGS))
    if unknown:
        raise ConfigError(
            f"config {path!r}: {unknown[0]!r} is no setting; known: {', '.join(SETTINGS)}"
        )
    runs = values.get("runs", {})
    if not isinstance(runs, dict):
        raise ConfigError(f'config {path!r}: runs must be tables, as in [runs."10t"]')
    checked: dict[str, Any] = {
        "runs": {name: _run(path, name, table) for name, table in runs.items()}
    }
    try:
        if "rules" in values:
            checked["rules"] = rules.parse(values["rules"])
        if "limits" in values:
            checked["limits"] = limits.parse(values["limits"])
        if "shed" in values:
            checked["shed"] = shed.parse(values["shed"])
        if "prices" in values:
            checked["prices"] = prices.parse(values["prices"])
        if "feeds" in values:
            checked["feeds"] = feeds.parse(values["feeds"])
        if "cooling_loops" in values:
            checked["cooling_loops"] = loops.parse(values["cooling_loops"])
        if "facility" in values:
            checked["facility"] = facility.parse(values["facility"])
        if "alerts" in values:
            checked["alerts"] = alerts.parse(values["alerts"])
        if "slurm" in values:
            checked["slurm"] = slurm.parse(values["slurm"])
        if "kubernetes" in values:
            checked["kubernetes"] = kubernetes.parse(values["kubernetes"])
        if "prometheus" in values:
            checked["prometheus"] = prometheus.parse(values["prometheus"])
        if "recording" in values:
            checked["recording"] = recording.parse(values["recording"])
    except (
        rules.RuleError,
        limits.LimitError,
        shed.ShedConfigError,
        prices.PriceError,
        feeds.FeedError,
        loops.LoopError,
        facility.FacilityError,
        alerts.AlertsError,
        slurm.SlurmConfigError,
        kubernetes.KubernetesConfigError,
        prometheus.PrometheusConfigError,
        recording.RecordingConfigError,
    ) as error:
        raise ConfigError(f"config {path!r}: {error}") from None
    return values | checked


def _run(path: str, name: str, table: Any) -> RunConfig:
    if not isinstance(table, dict):
        raise ConfigError(f"config {path!r}: runs.{name} must be a table")
    unknown = sorted(set(table) - {*RUN_FACTS, "protected", "flex_tier", "planned_end"})
    if unknown:
        raise ConfigError(f"config {path!r}: runs.{name}.{unknown[0]} is no setting")
    facts: dict[str, float] = {}
    for fact in RUN_FACTS:
        value = table.get(fact, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ConfigError(f"config {path!r}: runs.{name}.{fact} must be a positive number")
        if fact in table:
            facts[fact] = float(value)
    protected = table.get("protected", False)
    if not isinstance(protected, bool):
        raise ConfigError(f"config {path!r}: runs.{name}.protected must be true or false")
    tier = table.get("flex_tier")
    if tier is not None and (isinstance(tier, bool) or tier not in shed.TIERS):
        raise ConfigError(
            f"config {path!r}: runs.{name}.flex_tier must be 0 (never touched) to 3 (first)"
        )
    flex_tier = None if tier is None else int(tier)
    planned_end = _planned_end(path, name, table.get("planned_end"))
    return RunConfig(facts, protected, flex_tier, planned_end)


def _planned_end(path: str, name: str, value: Any) -> int:
    """Return the end that a date or a time means, Unix nanoseconds: of a date the end of its day.

    What names no time zone is UTC.
    """
    if value is None:
        return 0
    if not isinstance(value, datetime.date):
        raise ConfigError(
            f"config {path!r}: runs.{name}.planned_end must be a date or a time without quotes, "
            "as 2027-03-01"
        )
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time()) + datetime.timedelta(days=1)
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    return int(value.timestamp()) * 10**9
