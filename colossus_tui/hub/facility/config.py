"""The hub's settings of the building's own sensors: [facility], checked."""

from __future__ import annotations

import importlib.util
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from colossus_tui.hub.facility.points import (
    POINT_LIMIT,
    Point,
    PointError,
    Quantity,
    Subject,
    SubjectKind,
    point,
    quantities,
    subject_of,
)

SETTINGS = (
    "mqtt",
    "user",
    "password_file",
    "ca_file",
    "allow_plain",
    "prefix",
    "points",
    "redfish",
)
POINT_SETTINGS = ("topic", "of", "quantity", "unit")
REDFISH_SETTINGS = ("url", "user", "password_file", "of", "ca_file", "side")
SIDES = ("secondary", "primary")
PREFIX = "colossus/facility"
PLAIN_PORT, TLS_PORT = 1883, 8883
TOPIC_BYTES = 1_024
REDFISH_LIMIT = 2_000


class FacilityError(ValueError):
    """A setting is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class RedfishConfig:
    """One PDU or CDU to ask.

    Attributes:
        url: Its service, or one resource of it.
        side: Of a CDU, whose coolant: "secondary" is that of the racks.
    """

    url: SplitResult
    of: Subject
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    side: str = SIDES[0]

    @property
    def address(self) -> str:
        """Where it is asked, without what may be secret."""
        return self.url.geturl()

    @property
    def points(self) -> tuple[Point, ...]:
        """What may be heard of it."""
        units = {Quantity.POWER: "W", Quantity.FLOW: "l/min", Quantity.LEAK: ""}
        return tuple(
            Point(f"{self.address}#{quantity}", self.of, quantity, units.get(quantity, "C"))
            for quantity in quantities(self.of.kind)
        )


@dataclass(frozen=True, slots=True)
class FacilityConfig:
    """Checked settings.

    Attributes:
        host: Of the broker; "" for none.
        tls: Whether the broker's certificate is asked for and checked.
        prefix: Where topics of the usual layout begin.
    """

    host: str = ""
    port: int = 0
    tls: bool = False
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    prefix: str = PREFIX
    points: tuple[Point, ...] = ()
    redfish: tuple[RedfishConfig, ...] = field(default=())

    @property
    def address(self) -> str:
        """The broker as it is shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}"


def parse(table: Any) -> FacilityConfig:
    """Return the settings of a [facility] table.

    Raises:
        FacilityError: One of them is wrong, or a library is missing.
    """
    if not isinstance(table, dict):
        raise FacilityError("facility must be a table, as in [facility]")
    _known(table, SETTINGS, "facility")
    redfish = _tables(table, "redfish")
    devices = tuple(_redfish(number, one) for number, one in enumerate(redfish, 1))
    if len(devices) > REDFISH_LIMIT:
        raise FacilityError(f"facility.redfish: more than {REDFISH_LIMIT}")
    if "mqtt" not in table:
        alone = [name for name in SETTINGS if name in table and name not in ("mqtt", "redfish")]
        if alone:
            raise FacilityError(f"facility.{alone[0]} is of a broker; set facility.mqtt as well")
        if not devices:
            raise FacilityError("facility: set mqtt or [[facility.redfish]]")
        return FacilityConfig(redfish=devices)
    if importlib.util.find_spec("aiomqtt") is None:
        raise FacilityError("facility.mqtt needs a library: pip install 'colossus-tui[mqtt]'")
    plain = table.get("allow_plain", False)
    if not isinstance(plain, bool):
        raise FacilityError("facility.allow_plain must be true or false")
    url = _url("facility.mqtt", table["mqtt"], ("mqtt", "mqtts"), plain=plain)
    if url.path not in ("", "/") or url.query:
        raise FacilityError("facility.mqtt: nothing after the port")
    tls = url.scheme == "mqtts"
    points = [_point(number, one) for number, one in enumerate(_tables(table, "points"), 1)]
    if len(points) > POINT_LIMIT:
        raise FacilityError(f"facility.points: more than {POINT_LIMIT}")
    return FacilityConfig(
        host=url.hostname or "",
        port=url.port or (TLS_PORT if tls else PLAIN_PORT),
        tls=tls,
        user=_text("facility.user", table.get("user", "")),
        password_file=_file("facility.password_file", table.get("password_file")),
        ca_file=_file("facility.ca_file", table.get("ca_file")),
        prefix=_topic("facility.prefix", table.get("prefix", PREFIX)).rstrip("/"),
        points=tuple(points),
        redfish=devices,
    )


def _known(table: dict[str, Any], names: tuple[str, ...], where: str) -> None:
    if unknown := sorted(set(table) - set(names)):
        raise FacilityError(f"{where}.{unknown[0]} is no setting; known: {', '.join(names)}")


def _tables(table: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FacilityError(f"facility.{name} must be tables, as in [[facility.{name}]]")
    return found


def _point(number: int, table: dict[str, Any]) -> Point:
    where = f"facility.points, the {number}."
    _known(table, POINT_SETTINGS, where)
    topic = _topic(f"{where}: topic", table.get("topic"))
    of, quantity = table.get("of"), table.get("quantity")
    unit = table.get("unit")
    if not isinstance(of, str) or not isinstance(quantity, str):
        raise FacilityError(f"{where} ({topic}): of and quantity must be text")
    if unit is not None and not isinstance(unit, str):
        raise FacilityError(f"{where} ({topic}): unit must be text")
    return _checked(f"{where} ({topic})", topic, of, quantity, unit)


def _checked(where: str, topic: str, of: str, quantity: str, unit: str | None) -> Point:
    try:
        return point(topic, of, quantity, unit)
    except PointError as error:
        raise FacilityError(f"{where}: {error}") from None


def _topic(where: str, value: Any) -> str:
    if (
        not isinstance(value, str)
        or not value.isprintable()
        or not 0 < len(value.encode()) <= TOPIC_BYTES
        or set("#+") & set(value)
    ):
        raise FacilityError(f"{where} must be a topic, without # and +")
    return value


def _redfish(number: int, table: dict[str, Any]) -> RedfishConfig:
    where = f"facility.redfish, the {number}."
    _known(table, REDFISH_SETTINGS, where)
    url = _url(f"{where}: url", table.get("url"), ("https", "http"), plain=False)
    if url.query or url.fragment:
        raise FacilityError(f"{where}: url: nothing after the path")
    where = f"{where} ({url.hostname})"
    of, side = table.get("of"), table.get("side", SIDES[0])
    if not isinstance(of, str):
        raise FacilityError(f'{where}: of must be text, as in "feed:A" or "loop:1"')
    if side not in SIDES:
        raise FacilityError(f"{where}: side must be one of {', '.join(SIDES)}")
    try:
        subject = subject_of(of)
    except PointError as error:
        raise FacilityError(f"{where}: {error}") from None
    if "side" in table and subject.kind is not SubjectKind.LOOP:
        raise FacilityError(f"{where}: side is of a loop; {subject} has none")
    user = _text(f"{where}: user", table.get("user", ""))
    password = _file(f"{where}: password_file", table.get("password_file"))
    if bool(user) != (password is not None):
        raise FacilityError(f"{where}: user and password_file go together")
    ca_file = _file(f"{where}: ca_file", table.get("ca_file"))
    return RedfishConfig(url, subject, user, password, ca_file, side)


def _url(where: str, value: Any, schemes: tuple[str, ...], *, plain: bool) -> SplitResult:
    """Return a checked address; one without TLS only on this machine, or where that is allowed."""
    example = f'as in "{schemes[-1]}://127.0.0.1"'
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise FacilityError(f"{where} must be an address, {example}")
    try:
        url = urlsplit(value)
        port = url.port
        host = url.hostname
    except ValueError:
        raise FacilityError(f"{where} {value!r} is no address; {example}") from None
    if url.scheme not in schemes or not host or port == 0 or not _is_name(host):
        raise FacilityError(f"{where} {value!r}: give {' or '.join(schemes)} and a host, {example}")
    if url.username is not None or url.password is not None:
        raise FacilityError(f"{where}: no user or password in it; use user and password_file")
    if url.scheme in ("mqtt", "http") and not plain and not _is_loopback(host):
        remedy = "mqtts, or allow_plain = true" if url.scheme == "mqtt" else "https"
        raise FacilityError(f"{where} {value!r}: leaves this machine without TLS; use {remedy}")
    return url


def _is_name(host: str) -> bool:
    return len(host) <= 253 and all(0 < len(label) <= 63 for label in host.split("."))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 256 or ":" in value:
        raise FacilityError(f"{where} must be text of at most 256 characters, without a colon")
    return value


def _file(where: str, value: Any) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise FacilityError(f"{where} must be the path of a file")
    try:
        with open(value, "rb") as file:
            file.read(1)
    except OSError as error:
        raise FacilityError(f"{where} {value!r}: {error.strerror}") from None
    return Path(value)


def read_password(path: Path | None) -> str | None:
    """Return the first line of a password file; read each time, so that it may change.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no text.
    """
    if path is None:
        return None
    lines = path.read_bytes()[:4_096].decode().splitlines()
    return lines[0] if lines else ""
