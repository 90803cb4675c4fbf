"""What becomes of requests that a store refuses, puts off or never answers."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.hub.export import exporter
from tests.export.prometheus import free_port
from tests.export.world import World
from tests.support import until

GPU = (300.0, 40.0, 1500.0)


class Store:
    """Something that answers HTTP as a test says; the last answer is repeated."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = [(204, {})]
        self.requests: list[tuple[float, dict[str, str], int]] = []
        self.connection_count = 0
        self.delay_seconds = 0.0
        self.closes = False
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                store.connection_count += 1
                super().setup()

            def do_POST(self) -> None:
                store._post(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/write?tenant=a"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        size = len(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.requests.append((time.monotonic(), dict(handler.headers.items()), size))
        time.sleep(self.delay_seconds)
        handler.close_connection = self.closes
        status, headers = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        body = b"" if status == 204 else b"no\x1b[31m, not\nlike this"
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.close()


def world(url: str, **settings: Any) -> World:
    """Return a world with one node of two GPUs; each round is one request."""
    made = World(url=url, roll_ups=False, metrics=["power"], **settings)
    made.node("n1", GPU, GPU)
    return made


async def eventually(condition: Callable[[], object]) -> None:
    """Wait in a thread, so that the export goes on."""
    await asyncio.to_thread(until, condition)


async def test_requests_say_what_the_specification_wants_and_share_a_connection(
    store: Store, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    made = world(store.url, bearer_token_file=str(token))
    async with made.running():
        await eventually(lambda: made.exporter.health.sent >= 4)
        token.write_text("renewed")
        await eventually(lambda: made.exporter.health.sent >= 6)

    _, headers, _ = store.requests[0]
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Encoding"] == "snappy"
    assert headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert headers["User-Agent"].startswith("colossus-hub/")
    assert headers["Authorization"] == "Bearer secret"
    assert store.requests[-1][1]["Authorization"] == "Bearer renewed"
    assert store.connection_count <= 2 < len(store.requests)


async def test_what_fails_is_repeated_and_a_store_is_left_alone_for_as_long_as_it_asks(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.answers = [(503, {}), (429, {"Retry-After": "1"}), (204, {})]
    made = world(store.url, period_seconds=5)
    async with made.running():
        await eventually(lambda: "export=back" in caplog.text)

    times = [at for at, _, _ in store.requests]
    assert 0.2 <= times[1] - times[0] < 1
    assert times[2] - times[1] >= 1
    assert [size for _, _, size in store.requests[:3]] == [store.requests[0][2]] * 3
    assert [text for text in caplog.text.split() if text.startswith("export=")] == [
        "export=on",
        "export=away",
        "export=back",
    ]
    assert "tenant" not in caplog.text


async def test_a_refusal_drops_the_request_and_is_told_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.answers = [(400, {})]
    made = world(store.url)
    async with made.running():
        await eventually(lambda: len(store.requests) >= 3)
        (event,) = made.sink.events
        store.answers = [(204, {})]
        await eventually(lambda: made.exporter.health.sent >= 4)
        store.answers = [(400, {})]
        await eventually(lambda: len(made.sink.events) == 2)

    assert event.kind == "export.lost"
    assert event.severity == "warning"
    assert "2 samples" in event.message
    assert "HTTP 400" in event.message
    assert "like this" in event.message
    assert "\x1b" not in event.message
    assert caplog.text.count("export=lost") == 2


async def test_what_a_store_never_took_is_given_up_and_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "GIVE_UP_SECONDS", 1.0)
    store.answers = [(500, {})]
    made = world(store.url)
    async with made.running():
        await eventually(lambda: bool(made.sink.events))
        store.answers = [(204, {})]
        await eventually(lambda: made.sink.events[-1].kind == "export.back")

    first, last = made.sink.events
    assert first.kind == "export.lost"
    assert "away" in first.message
    assert f"{made.exporter.health.lost} were lost" in last.message
    assert made.exporter.health.lost >= 4  # what was given up, and the looks that were not taken
    assert made.exporter.health.sent >= 2


async def test_a_store_that_asks_for_longer_than_anything_is_kept_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "GIVE_UP_SECONDS", 1.0)
    store.answers = [(429, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"})]
    made = world(store.url)
    async with made.running():
        await eventually(lambda: made.exporter.health.lost >= 6)

    assert len(store.requests) == 1
    assert [event.kind for event in made.sink.events] == ["export.lost"]


async def test_a_slow_store_gets_the_newest_and_what_it_misses_is_counted(store: Store) -> None:
    store.delay_seconds = 0.6
    made = world(store.url)
    async with made.running():
        await eventually(lambda: made.exporter.health.sent >= 6)

    (event,) = made.sink.events
    assert "too slowly" in event.message
    assert made.exporter.health.lost >= 4


async def test_a_connection_that_the_store_closed_is_made_again_at_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.closes = True
    made = world(store.url)
    async with made.running():
        await eventually(lambda: made.exporter.health.sent >= 10)

    assert "export=away" not in caplog.text
    assert store.connection_count >= 5
    assert made.exporter.health.lost == 0


async def test_the_certificate_of_an_https_store_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    store = Store(context)
    try:
        stranger = world(store.url)
        async with stranger.running():
            await eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        made = world(store.url)
        async with made.running():
            await eventually(lambda: made.exporter.health.sent >= 2)
    finally:
        store.close()

    assert stranger.exporter.health.sent == 0


def certificate(folder: Path) -> Path:
    """Return a file with a key and a certificate for 127.0.0.1 that nobody else signed."""
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl, which is not here")
    pem = folder / "store.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return pem


async def test_nobody_there_costs_the_hub_nothing_and_it_ends_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = world(f"http://127.0.0.1:{free_port()}/")
    async with made.running():
        await eventually(lambda: "export=away" in caplog.text)
        began = time.monotonic()

    assert time.monotonic() - began < 1
    assert "Connection refused" in caplog.text


async def test_a_fault_of_the_export_does_not_end_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = world(store.url)
    assert made.exporter._gpus is not None
    advance, calls = made.exporter._gpus.advance, []

    def broken(*sight: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a fault")
        return advance(*sight)

    monkeypatch.setattr(made.exporter._gpus, "advance", broken)
    async with made.running():
        await eventually(lambda: made.exporter.health.sent > 0)

    assert "a fault" in caplog.text
    assert [event.kind for event in made.sink.events] == ["export.lost"]
