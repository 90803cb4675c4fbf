"""Asks PDUs and CDUs over Redfish (DMTF DSP0266 and DSP8010), each some seconds, in threads."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import math
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from colossus_tui import __version__
from colossus_tui.hub.facility.config import RedfishConfig, read_password
from colossus_tui.hub.facility.link import Link
from colossus_tui.hub.facility.payload import Reading
from colossus_tui.hub.facility.points import MEASURES, Quantity, SubjectKind
from colossus_tui.hub.facility.values import Values

PERIOD_SECONDS = 10.0
POLL_SECONDS, ANSWER_SECONDS = 8.0, 4.0  # for all questions to a device, and for one
BODY_BYTES = 1 << 20
MEMBER_LIMIT = 128  # of a collection
THREAD_LIMIT = 32
ROOT = "/redfish/v1/"
PDUS = ("RackPDUs", "FloorPDUs", "Switchgear", "PowerShelves")  # collections of PowerEquipment
CDUS = ("CDUs",)  # of ThermalEquipment
# Properties of a CoolantConnector, each a sensor's excerpt.
CONNECTOR = {
    Quantity.SUPPLY_TEMPERATURE: "SupplyTemperatureCelsius",
    Quantity.RETURN_TEMPERATURE: "ReturnTemperatureCelsius",
    Quantity.FLOW: "FlowLitersPerMinute",
}
LEAKS = ("Warning", "Critical")  # DetectorState of a LeakDetector
Resource = Mapping[str, Any]
T = TypeVar("T")


class RedfishError(Exception):
    """A device does not answer, or not as the standard has it."""


class Connection:
    """One connection to a device, kept open; blocking, for one thread at a time."""

    def __init__(self, config: RedfishConfig) -> None:
        self._config = config
        self._http: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None  # also while an answer alone still has it
        self._deadline = 0.0
        self._in_use = threading.Lock()
        self._is_closed = False

    def poll(self, read: Callable[[], T]) -> T:
        """Let the time of one poll begin, and do it.

        A socket's own time begins anew with every byte: at the end of the poll's it is shut.
        """
        with self._in_use:
            self._deadline = time.monotonic() + POLL_SECONDS
            timer = threading.Timer(POLL_SECONDS, self._shut)
            timer.daemon = True
            timer.start()
            try:
                return read()
            finally:
                timer.cancel()
                if self._is_closed:
                    self._drop()

    def get(self, path: str) -> Resource:
        """Return a resource.

        Raises:
            RedfishError: There is none.
        """
        try:
            return self._get(path)
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            self._drop()
            is_late = time.monotonic() >= self._deadline
            raise RedfishError(f"{path}: {_said(TimeoutError() if is_late else error)}") from None

    def _get(self, path: str) -> Resource:
        connection = self._http or self._made()
        connection.timeout = min(self._left(), ANSWER_SECONDS)
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(connection.timeout)
        self._socket = connection.sock
        self._left()  # it was shut in vain if the time ended before
        connection.request("GET", path, headers=self._headers())
        answer = connection.getresponse()
        body = answer.read(BODY_BYTES + 1)
        self._left()  # what was cut short may look whole
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        if len(body) > BODY_BYTES:
            raise ValueError("the answer is too large")
        found = json.loads(body)
        if not isinstance(found, dict):
            raise ValueError("the answer is no resource")
        return found

    def _left(self) -> float:
        """Return what is left of the poll's time, seconds.

        Raises:
            TimeoutError: Nothing.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "OData-Version": "4.0",
            "User-Agent": f"colossus-hub/{__version__}",
        }
        if self._config.user:
            words = f"{self._config.user}:{read_password(self._config.password_file)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(words).decode()}"
        return headers

    def _made(self) -> http.client.HTTPConnection:
        url = self._config.url
        host = url.hostname or ""
        if self._is_closed:
            raise ConnectionAbortedError("the hub ends")
        if url.scheme == "https":
            file = str(self._config.ca_file) if self._config.ca_file else None
            context = ssl.create_default_context(cafile=file)
            self._http = http.client.HTTPSConnection(host, url.port, context=context)
        else:
            self._http = http.client.HTTPConnection(host, url.port)
        return self._http

    def _drop(self) -> None:
        """Let go; the next question begins anew."""
        if self._http is not None:
            self._http.close()
            self._http = self._socket = None

    def close(self) -> None:
        """End whatever goes on, from any thread; nothing is asked after this."""
        self._is_closed = True
        if self._in_use.acquire(blocking=False):
            self._drop()
            self._in_use.release()
            return
        self._shut()

    def _shut(self) -> None:
        """Let whoever waits for the socket find it ended."""
        if (held := self._socket) is not None:
            with contextlib.suppress(OSError):
                # Not TLS's own, which takes the session away from the thread that reads.
                socket.socket.shutdown(held, socket.SHUT_RDWR)


class Device:
    """One PDU or CDU; where its figures are is found out once, and again after a failure."""

    def __init__(self, config: RedfishConfig, get: Callable[[str], Resource]) -> None:
        self._config = config
        self._get = get
        self._paths: list[str] = []

    def read(self) -> list[tuple[Quantity, float]]:
        """Return what it measures, in the units of the standard.

        Raises:
            RedfishError: It does not answer, or measures nothing of it.
        """
        try:
            if not self._paths:
                self._paths = list(self._found())
            resources = [self._get(path) for path in self._paths]
            is_loop = self._config.of.kind is SubjectKind.LOOP
            found = list(self._cooling(resources) if is_loop else self._power(resources))
        except RedfishError:
            self._paths = []
            raise
        if not found:
            raise RedfishError("it measures nothing of this")
        return found

    def _found(self) -> Iterator[str]:
        """Yield the resources to look at: the one of the settings, or all of the service."""
        path = self._config.url.path.rstrip("/")
        if path not in ("", ROOT.rstrip("/")):
            yield self._config.url.path
            return
        is_loop = self._config.of.kind is SubjectKind.LOOP
        equipment = self._link(self._get(ROOT), "ThermalEquipment" if is_loop else "PowerEquipment")
        if equipment is None:
            raise RedfishError(f"{ROOT}: it has no {'CDU' if is_loop else 'PDU'}")
        for name in CDUS if is_loop else PDUS:
            yield from self._members(equipment, name)

    def _link(self, resource: Resource, name: str) -> Resource | None:
        """Return the resource that a property refers to; None where there is no such property."""
        link = resource.get(name)
        return self._get(_path(link)) if isinstance(link, dict) and "@odata.id" in link else None

    def _members(self, resource: Resource, name: str) -> Iterator[str]:
        """Yield the paths of a collection's members."""
        collection = self._link(resource, name)
        members = collection.get("Members") if collection is not None else None
        for member in (members if isinstance(members, list) else [])[:MEMBER_LIMIT]:
            yield _path(member)

    def _power(self, pdus: Sequence[Resource]) -> Iterator[tuple[Quantity, float]]:
        """Yield the power of all PDUs: as each sums it up, else over its mains or its outlets."""
        sums = [self._pdu(pdu) for pdu in pdus]
        known = [watts for watts in sums if watts is not None]
        if known and len(known) == len(sums):
            yield Quantity.POWER, sum(known)

    def _pdu(self, pdu: Resource) -> float | None:
        metrics = self._link(pdu, "Metrics")
        if metrics is not None and (watts := _reading(metrics, "PowerWatts")) is not None:
            return watts
        for name in ("Mains", "Outlets"):
            parts = [_reading(self._get(path), "PowerWatts") for path in self._members(pdu, name)]
            known = [watts for watts in parts if watts is not None]
            if known and len(known) == len(parts):
                return sum(known)
        return None

    def _cooling(self, cdus: Sequence[Resource]) -> Iterator[tuple[Quantity, float]]:
        name = (
            "SecondaryCoolantConnectors"
            if self._config.side == "secondary"
            else ("PrimaryCoolantConnectors")
        )
        connectors = [self._get(path) for cdu in cdus for path in self._members(cdu, name)]
        for quantity, field in CONNECTOR.items():
            values = [_reading(connector, field) for connector in connectors]
            known = [value for value in values if value is not None]
            if known:
                yield quantity, MEASURES[quantity].together(known)
        states = [state for cdu in cdus for state in self._leaks(cdu)]
        if states:
            yield Quantity.LEAK, float(any(state in LEAKS for state in states))

    def _leaks(self, cdu: Resource) -> Iterator[str]:
        """Yield what each leak detector of a CDU says; one that says nothing is left out."""
        detection = self._link(cdu, "LeakDetection")
        for path in self._members(detection, "LeakDetectors") if detection is not None else ():
            state = self._get(path).get("DetectorState")
            if state in ("OK", *LEAKS):
                yield state


class Poller:
    """Asks all devices of the settings, each in its turn."""

    def __init__(
        self,
        configs: Sequence[RedfishConfig],
        links: Sequence[Link],
        values: Values,
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self._devices = list(zip(configs, links, strict=True))
        self._values = values
        self._period = period_seconds
        self._threads = ThreadPoolExecutor(min(len(configs), THREAD_LIMIT), "redfish")

    async def run(self) -> None:
        """Ask until cancelled."""
        connections = [Connection(config) for config, _ in self._devices]
        try:
            async with asyncio.TaskGroup() as tasks:
                for (config, link), connection in zip(self._devices, connections, strict=True):
                    tasks.create_task(self._ask(config, link, connection))
        finally:
            for connection in connections:
                connection.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, config: RedfishConfig, link: Link, connection: Connection) -> None:
        device, loop = Device(config, connection.get), asyncio.get_running_loop()

        def read() -> list[tuple[Quantity, float]]:
            return connection.poll(device.read)

        await asyncio.sleep(random.uniform(0, min(self._period, len(self._devices) / 10)))
        while True:
            due = loop.time() + self._period
            try:
                found = await loop.run_in_executor(self._threads, read)
            except RedfishError as error:
                link.away(str(error))
            else:
                link.up()
                for quantity, value in found:
                    if self._values.put(f"{config.address}#{quantity}", Reading(value)):
                        link.took()
            await asyncio.sleep(max(due - loop.time(), self._period / 2))


def _path(link: Any) -> str:
    """Return where a reference leads, on the device that it came from."""
    path = link.get("@odata.id") if isinstance(link, dict) else None
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        raise RedfishError("a reference leads elsewhere")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise RedfishError("a reference is no path")
    return path


def _reading(resource: Resource, name: str) -> float | None:
    """Return the Reading of a sensor's excerpt; None where it has none."""
    excerpt = resource.get(name)
    value = excerpt.get("Reading") if isinstance(excerpt, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate: {error.verify_message}"
    if isinstance(error, json.JSONDecodeError | RecursionError | UnicodeDecodeError):
        return "the answer is not JSON"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
