"""A Redfish service with PDUs and CDUs in the shapes of the DMTF's schemas (DSP8010), over HTTP."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = "/redfish/v1"
DRIP_SECONDS = 0.05
Resource = dict[str, Any]


def link(path: str) -> Resource:
    """Return a reference."""
    return {"@odata.id": path}


def excerpt(value: float | None, sensor: str) -> Resource:
    """Return a sensor's excerpt."""
    return {"Reading": value, "DataSourceUri": f"{ROOT}/Chassis/1/Sensors/{sensor}"}


def resource(path: str, kind: str, **more: Any) -> Resource:
    """Return a resource as a service describes it."""
    name = path.rsplit("/", 1)[-1]
    head = {"@odata.id": path, "@odata.type": f"#{kind}.v1_3_0.{kind}", "Id": name, "Name": kind}
    return head | {"Status": {"State": "Enabled", "Health": "OK"}} | more


class Service:
    """One device's service; use it as a context manager.

    Attributes:
        resources: By path.
        answers: Raw answers by path, status and body; these win.
        asked: Paths, in order.
        user: Who may ask; "" for anybody.
        delay_seconds: Before each answer.
        drips: What each answer begins with; a blank each 0.05 s follows until the other side ends.
            Empty for answers as they should be.
    """

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.resources: dict[str, Resource] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.authorization = ""
        self.delay_seconds = 0.0
        self.drips = b""
        self.connection_count = 0
        self._add(f"{ROOT}/", "ServiceRoot", RedfishVersion="1.19.0")
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                service.connection_count += 1
                super().setup()

            def do_GET(self) -> None:
                if service.drips:
                    self._drip(service.drips)
                    return
                status, body = service._answer(self.path, self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _drip(self, beginning: bytes) -> None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.wfile.write(beginning)
                    while True:
                        time.sleep(DRIP_SECONDS)
                        self.wfile.write(b" ")

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        self.asked.append(path)
        time.sleep(self.delay_seconds)
        if self.authorization and authorization != self.authorization:
            return 401, b'{"error": {"code": "Base.1.0.InsufficientPrivilege"}}'
        if path in self.answers:
            return self.answers[path]
        found = self.resources.get(path)
        return (200, json.dumps(found).encode()) if found else (404, b"{}")

    def _add(self, path: str, kind: str, **more: Any) -> str:
        self.resources[path] = resource(path, kind, **more)
        return path

    def _collect(self, path: str, kind: str, members: list[str]) -> str:
        return self._add(
            path,
            f"{kind}Collection",
            Members=[link(member) for member in members],
            **{"Members@odata.count": len(members)},
        )

    def add_pdus(
        self, *watts: float | None, mains: tuple[float, ...] = (), outlets: tuple[float, ...] = ()
    ) -> None:
        """Have a rack PDU for each figure; None for one without metrics of its own."""
        members = []
        for number, figure in enumerate(watts, 1):
            path = f"{ROOT}/PowerEquipment/RackPDUs/{number}"
            more: Resource = {"EquipmentType": "RackPDU"}
            if figure is not None:
                metrics = f"{path}/Metrics"
                self._add(
                    metrics, "PowerDistributionMetrics", PowerWatts=excerpt(figure, "PDUPower")
                )
                more["Metrics"] = link(metrics)
            for name, kind, figures in (
                ("Mains", "Circuit", mains),
                ("Outlets", "Outlet", outlets),
            ):
                parts = [
                    self._add(
                        f"{path}/{name}/{index}", kind, PowerWatts=excerpt(one, f"{name}Power")
                    )
                    for index, one in enumerate(figures, 1)
                ]
                if parts:
                    more[name] = link(self._collect(f"{path}/{name}", kind, parts))
            members.append(self._add(path, "PowerDistribution", **more))
        racks = self._collect(f"{ROOT}/PowerEquipment/RackPDUs", "PowerDistribution", members)
        path = self._add(f"{ROOT}/PowerEquipment", "PowerEquipment", RackPDUs=link(racks))
        self.resources[f"{ROOT}/"]["PowerEquipment"] = link(path)

    def add_cdu(
        self,
        secondary: list[tuple[float | None, float | None, float | None]],
        primary: list[tuple[float | None, float | None, float | None]] = [],  # noqa: B006
        leaks: tuple[str, ...] = (),
    ) -> None:
        """Have one CDU: supply, return and flow of each connector, and its leak detectors."""
        path = f"{ROOT}/ThermalEquipment/CDUs/1"
        more: Resource = {"EquipmentType": "CDU"}
        for side, connectors in (("Secondary", secondary), ("Primary", primary)):
            folder = f"{path}/{side}CoolantConnectors"
            members = [
                self._add(
                    f"{folder}/{number}",
                    "CoolantConnector",
                    SupplyTemperatureCelsius=excerpt(supply, "Supply"),
                    ReturnTemperatureCelsius=excerpt(back, "Return"),
                    FlowLitersPerMinute=excerpt(flow, "Flow"),
                )
                for number, (supply, back, flow) in enumerate(connectors, 1)
            ]
            more[f"{side}CoolantConnectors"] = link(
                self._collect(folder, "CoolantConnector", members)
            )
        if leaks:
            folder = f"{path}/LeakDetection/LeakDetectors"
            detectors = [
                self._add(f"{folder}/{number}", "LeakDetector", DetectorState=state)
                for number, state in enumerate(leaks, 1)
            ]
            self._collect(folder, "LeakDetector", detectors)
            detection = self._add(
                f"{path}/LeakDetection", "LeakDetection", LeakDetectors=link(folder)
            )
            more["LeakDetection"] = link(detection)
        unit = self._add(path, "CoolingUnit", **more)
        cdus = self._collect(f"{ROOT}/ThermalEquipment/CDUs", "CoolingUnit", [unit])
        equipment = self._add(f"{ROOT}/ThermalEquipment", "ThermalEquipment", CDUs=link(cdus))
        self.resources[f"{ROOT}/"]["ThermalEquipment"] = link(equipment)
