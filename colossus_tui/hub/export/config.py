"""The hub's settings of a Prometheus-compatible store, checked."""

from __future__ import annotations

import importlib.util
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from colossus_tui.hub.export.names import METRICS, OWN_LABELS, ROLLED

NAMES = (
    "url",
    "period_seconds",
    "metrics",
    "raw",
    "roll_ups",
    "bearer_token_file",
    "labels",
    "allow_http",
)
PERIODS = 1, 300  # longer than Prometheus looks back, and every graph has gaps
_LABEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class PrometheusConfigError(ValueError):
    """A setting is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """Checked settings.

    Attributes:
        url: Where the store takes remote writes.
        period_seconds: Time between two samples of a series.
        metrics: The hub's names of what is written.
        raw: Whether each GPU has series of its own.
        roll_ups: Whether runs, halls, racks and the site have.
        bearer_token_file: Its line goes into each request; read again each time.
        labels: Added to every series.
    """

    url: SplitResult
    period_seconds: float = 15.0
    metrics: tuple[str, ...] = ROLLED
    raw: bool = True
    roll_ups: bool = True
    bearer_token_file: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_url(self) -> str:
        """The address without what may be secret in it."""
        return self.url._replace(query="", fragment="").geturl()


def parse(table: Any) -> PrometheusConfig:
    """Return the settings of a [prometheus] table.

    Raises:
        PrometheusConfigError: One of them is wrong, or the library is missing.
    """
    if not isinstance(table, dict):
        raise PrometheusConfigError("prometheus must be a table, as in [prometheus]")
    unknown = sorted(set(table) - set(NAMES))
    if unknown:
        raise PrometheusConfigError(
            f"prometheus.{unknown[0]} is no setting; known: {', '.join(NAMES)}"
        )
    if importlib.util.find_spec("cramjam") is None:
        raise PrometheusConfigError(
            "prometheus needs a library: pip install 'colossus-tui[prometheus]'"
        )
    raw, roll_ups = _flag(table, "raw", default=True), _flag(table, "roll_ups", default=True)
    if not raw and not roll_ups:
        raise PrometheusConfigError(
            "prometheus.raw and prometheus.roll_ups: one must be true, or nothing is written"
        )
    metrics = _metrics(table.get("metrics", list(ROLLED)))
    if not raw and not set(metrics) & set(ROLLED):
        raise PrometheusConfigError(
            f"prometheus.metrics: without raw, name one that is rolled up: {', '.join(ROLLED)}"
        )
    return PrometheusConfig(
        url=_url(table.get("url"), allow_http=_flag(table, "allow_http", default=False)),
        period_seconds=_period(table.get("period_seconds", 15.0)),
        metrics=metrics,
        raw=raw,
        roll_ups=roll_ups,
        bearer_token_file=_token_file(table.get("bearer_token_file")),
        labels=_labels(table.get("labels", {})),
    )


def _flag(table: dict[str, Any], name: str, *, default: bool) -> bool:
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise PrometheusConfigError(f"prometheus.{name} must be true or false")
    return value


def _url(value: Any, *, allow_http: bool) -> SplitResult:
    where = "prometheus.url"
    example = 'as in "http://127.0.0.1:9090/api/v1/write"'
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise PrometheusConfigError(f"{where} must be the address to write to, {example}")
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise PrometheusConfigError(f"{where} {value!r} is no address; {example}") from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise PrometheusConfigError(
            f"{where} {value!r}: give http or https, a host and a path, {example}"
        )
    if url.username is not None or url.password is not None:
        raise PrometheusConfigError(f"{where}: no user or password in it; use bearer_token_file")
    if url.scheme == "http" and not allow_http and not _is_loopback(url.hostname):
        raise PrometheusConfigError(
            f"{where} {value!r}: plain http leaves this machine; use https, or allow_http = true"
        )
    return url if url.path else url._replace(path="/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _period(value: Any) -> float:
    low, high = PERIODS
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise PrometheusConfigError(f"prometheus.period_seconds must be {low} to {high} seconds")
    return float(value)


def _metrics(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise PrometheusConfigError('prometheus.metrics must be a list of names, as in ["power"]')
    for name in value:
        if not isinstance(name, str) or name not in METRICS:
            raise PrometheusConfigError(
                f"prometheus.metrics: {name!r} is no metric; known: {', '.join(METRICS)}"
            )
        if value.count(name) > 1:
            raise PrometheusConfigError(f"prometheus.metrics: {name!r} is there twice")
    return tuple(value)


def _token_file(value: Any) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise PrometheusConfigError("prometheus.bearer_token_file must be the path of a file")
    try:
        read_token(Path(value))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise PrometheusConfigError(f"prometheus.bearer_token_file {value!r}: {why}") from None
    return Path(value)


def read_token(path: Path) -> str:
    """Return the token in a file.

    Raises:
        OSError: It cannot be read.
        ValueError: There is no token in it.
    """
    token = path.read_bytes().strip()
    if not token or not token.isascii() or not token.decode().isprintable() or b" " in token:
        raise ValueError("must have the token in it, one word")
    return token.decode()


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise PrometheusConfigError("prometheus.labels must be a table, as in [prometheus.labels]")
    for name, text in value.items():
        if not _LABEL_NAME.fullmatch(name):
            raise PrometheusConfigError(
                f"prometheus.labels.{name}: a name has a letter first, then a-z, 0-9 and _"
            )
        if name in OWN_LABELS:
            raise PrometheusConfigError(f"prometheus.labels.{name}: the hub sets that one itself")
        if not isinstance(text, str) or not 0 < len(text) <= 256:
            raise PrometheusConfigError(
                f"prometheus.labels.{name} must be text of at most 256 characters"
            )
    return dict(value)
