"""One HTTP connection to the store, kept open; blocking, for one thread at a time."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import math
import socket
import ssl
import threading
import time
from dataclasses import dataclass

from colossus_tui import __version__
from colossus_tui.hub.export.config import PrometheusConfig, read_token
from colossus_tui.text import safe

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
ANSWER_BYTES = 4_096
LONGEST_PAUSE_SECONDS = 600.0
TEXT_LIMIT = 200
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": f"colossus-hub/{__version__}",
}
_CUT_OFF = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request.

    Attributes:
        status: HTTP's; 0 where there was none.
        text: The store's words, or why there are none; harmless to print.
        pause_seconds: How long it asks to be left alone.
    """

    status: int
    text: str
    pause_seconds: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether the samples are with the store."""
        return 200 <= self.status < 300

    @property
    def may_be_repeated(self) -> bool:
        """Whether the same request may be taken later."""
        return self.status == 0 or self.status == 429 or self.status >= 500

    @property
    def why(self) -> str:
        """What is wrong, in one line."""
        return f"HTTP {self.status}: {self.text}" if self.status else self.text


class Connection:
    """One connection; made when it is needed, and again when the store closed it."""

    def __init__(self, config: PrometheusConfig) -> None:
        self._config = config
        self._http: http.client.HTTPConnection | None = None
        self._in_use = threading.Lock()
        self._is_closed = False
        url = config.url
        self._target = f"{url.path}?{url.query}" if url.query else url.path

    def post(self, body: bytes) -> Answer:
        """Send a request and return what came of it."""
        with self._in_use:
            try:
                return self._post_again(body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._drop()
                return Answer(0, safe(_said(error), TEXT_LIMIT))
            finally:
                if self._is_closed:
                    self._drop()

    def _post_again(self, body: bytes) -> Answer:
        """Send a request; anew when the store has closed a connection that had nothing to do."""
        is_kept = self._http is not None
        try:
            return self._post(body)
        except _CUT_OFF:
            if not is_kept or self._is_closed:
                raise
            self._drop()
            return self._post(body)

    def _post(self, body: bytes) -> Answer:
        headers = dict(HEADERS)
        if self._config.bearer_token_file is not None:
            headers["Authorization"] = f"Bearer {read_token(self._config.bearer_token_file)}"
        connection = self._http or self._connected()
        connection.request("POST", self._target, body, headers)
        response = connection.getresponse()
        text = response.read(ANSWER_BYTES).decode(errors="replace")
        if not response.isclosed():
            self._drop()
        text = safe(text.strip() or response.reason, TEXT_LIMIT)
        return Answer(response.status, text, _pause(response.headers.get("Retry-After")))

    def _connected(self) -> http.client.HTTPConnection:
        url = self._config.url
        host = url.hostname or ""
        made: http.client.HTTPConnection
        if url.scheme == "https":
            context = ssl.create_default_context()
            made = http.client.HTTPSConnection(
                host, url.port, timeout=CONNECT_SECONDS, context=context
            )
        else:
            made = http.client.HTTPConnection(host, url.port, timeout=CONNECT_SECONDS)
        self._http = made
        made.connect()
        made.sock.settimeout(ANSWER_SECONDS)
        if self._is_closed:
            raise ConnectionAbortedError("the hub ends")
        return made

    def _drop(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def close(self) -> None:
        """End whatever goes on, from any thread; nothing is sent after this."""
        self._is_closed = True
        if self._in_use.acquire(blocking=False):
            self._drop()
            self._in_use.release()
            return
        connection = self._http
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _pause(value: str | None) -> float:
    """Return the seconds that a Retry-After asks for: a number, or a date."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS) if math.isfinite(seconds) else 0.0
