"""The page's server: Textual's, guarded.

Whoever reaches the page has a console. So it listens on loopback only, and since other users of the
machine and other pages in the same browser reach that as well, it asks for a word that only who
started it was told: first in the address, from then on in a cookie. A browser sends a cookie to
every port of a host, so this one is for a path that nobody else can name. A name that is not
loopback (rebound DNS) and another page's origin are refused whatever they know.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

TITLE = "colossus"
SESSIONS = 16  # console processes at once
HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ConsoleServer(Server):
    """Serves one command to browsers of this machine.

    Attributes:
        word: What a browser must know.
    """

    def __init__(self, command: str, host: str, port: int) -> None:
        templates = Path(__file__).with_name("templates")
        super().__init__(command, host, port, TITLE, templates_path=templates)
        self.word = secrets.token_urlsafe(24)
        self._path = f"/{secrets.token_urlsafe(24)}"
        self._cookie = f"colossus-{port}"
        self._sessions = 0

    @property
    def address(self) -> str:
        """What to open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/?word={self.word}"

    async def _make_app(self) -> web.Application:
        app: web.Application = await super()._make_app()

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        root = web.Application(middlewares=[guard])
        root.add_subapp(self._path, app)
        return root

    async def on_startup(self, app: web.Application) -> None:
        """Say nothing: the command says where it is."""

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who comes by a loopback name, from this page or none, and knows the word."""
        origin = request.headers.get("Origin")
        if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            raise web.HTTPForbidden(text="this page is for browsers of its own machine\n")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="another page may not use this one\n")
        known = request.cookies.get(self._cookie, "")
        asked = request.query.get("word", "")
        if asked and self._is_word(asked):
            # The word stays in no history.
            answer: web.StreamResponse = web.HTTPFound(f"{self._path}/")
            answer.set_cookie(
                self._cookie, self.word, path=f"{self._path}/", httponly=True, samesite="Strict"
            )
            return answer
        if not self._is_word(known):
            raise web.HTTPForbidden(text="open the address that `colossus serve` printed\n")
        answer = await handler(request)
        if not answer.prepared:
            answer.headers.update(HEADERS)
        return answer

    def _is_word(self, said: str) -> bool:
        return hmac.compare_digest(said.encode(), self.word.encode())

    async def handle_index(self, request: web.Request) -> Any:
        """Show the page; its addresses are those by which the browser came."""
        self.public_url = f"http://{request.host}"
        return await super().handle_index(request)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Start a console for a browser, if there are not too many."""
        if self._sessions >= SESSIONS:
            raise web.HTTPServiceUnavailable(text=f"{SESSIONS} browsers are here already\n")
        self._sessions += 1
        try:
            answer: web.WebSocketResponse = await super().handle_websocket(request)
            return answer
        finally:
            self._sessions -= 1


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(server: ConsoleServer, started: Callable[[], None]) -> None:
    """Serve until it is interrupted; `started` is called once browsers are heard.

    Raises:
        OSError: The port is taken.
    """
    app = server._make_app()
    web.run_app(app, host=server.host, port=server.port, print=lambda _: started(), access_log=None)
