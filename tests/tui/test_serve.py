"""`colossus serve`: the console in a real browser, and who is not let in."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from colossus_tui.web.server import is_loopback
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, local_run
from tests.support import until
from tests.tui.browser import browser

Serve = Callable[..., str]


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run("10t"), local_run("6t"))
        agent.steps("10t", [1, 2, 3])
        until(lambda: hub.run_of("10t").get("step") == 3)
        yield agent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(hub: Product, *arguments: str) -> Iterator[str]:
    """Run the command and yield the address that it says."""
    words = [str(BIN / "colossus"), "serve", "--port", str(free_port()), *arguments]
    process = subprocess.Popen(words, env=hub.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def serve(hub: Product, agent: FakeAgent) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(serving(hub, *arguments))


async def test_a_browser_shows_the_runs_and_a_key_answers(
    serve: Serve, hub: Product, tmp_path: Path
) -> None:
    address = serve()
    async with browser(tmp_path / "chromium", address) as page:
        await page.until("10t", "6t", "running", "viewer")
        await page.click(500, 400)
        await page.press("?")
        await page.until("KEYS", "Save at a step")
        host = urlsplit(address).netloc
        asked = [urlsplit(one).netloc for one in page.requests if one.startswith("http")]
        assert set(asked) == {host}  # nothing from elsewhere
        assert not [one for one in page.errors if "WebGL" not in one]
        assert "word=" not in await page.evaluate("window.location.href")


async def test_who_looks_changes_nothing(serve: Serve, hub: Product, tmp_path: Path) -> None:
    async with browser(tmp_path / "chromium", serve()) as page:
        await page.until("10t", "viewer")
        await page.click(500, 400)
        await page.press("T")
        await page.until("keeps nothing")
        await page.press("p")
        await page.until("refused: policy", "you are a viewer here")
    assert hub.json("actions")["actions"] == []


async def test_an_operator_acts_from_a_browser(
    serve: Serve, hub: Product, agent: FakeAgent, tmp_path: Path
) -> None:
    async with browser(tmp_path / "chromium", serve("--operator")) as page:
        await page.until("10t", "running")
        assert "viewer" not in page.text
        await page.click(500, 400)
        await page.press("f")
        await page.until("freeze 10t", "does it")
        await page.press("y")
        await page.until("dispatched")
    (action,) = hub.json("actions")["actions"]
    assert (action["verb"], action["run_id"]) == ("freeze", "10t")


async def test_nobody_comes_in_without_the_word_or_from_elsewhere(serve: Serve) -> None:
    address = serve()
    page, word = f"http://{urlsplit(address).netloc}", address.partition("?word=")[2]
    cookie = {"Cookie": f"colossus-{urlsplit(address).port}={word}"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def status(path: str, **headers: str) -> int:
            async with session.get(f"{page}{path}", headers=headers, allow_redirects=False) as said:
                return said.status

        assert await status("/") == 403
        assert await status("/?word=wrong") == 403
        async with session.get(f"{page}/?word={word}", allow_redirects=False) as said:
            assert said.status == 302
            path = said.headers["Location"].rstrip("/")
            told = said.headers["Set-Cookie"].split("; ")
        # A browser sends it to other ports as well, but to nobody who does not know the path.
        assert {"HttpOnly", "SameSite=Strict", f"Path={path}/"} <= set(told)
        assert len(path) > 30
        assert word not in path
        assert await status(f"{path}/static/js/textual.js") == 403
        assert await status(f"{path}/ws") == 403
        assert await status(f"{path}/", **cookie) == 200
        assert await status(f"{path}/", **cookie, Origin=page) == 200
        assert await status(f"{path}/", **cookie, Origin="http://evil.example") == 403
        assert await status(f"{path}/ws", **cookie, Origin="http://localhost:1") == 403
        assert await status(f"{path}/", **cookie, Host="rebound.example") == 403
        async with session.get(f"{page}{path}/", headers=cookie) as said:
            assert "frame-ancestors 'none'" in said.headers["Content-Security-Policy"]
            assert word not in await said.text()


def test_only_loopback_is_listened_on(hub: Product) -> None:
    for host in ("0.0.0.0", "192.168.1.7", "hub.example"):
        said = hub.cli("serve", "--host", host)
        assert said.returncode == 2
        assert "not loopback" in said.stderr
        assert "ssh -L" in said.stderr
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "localhost.example", "[::1]")))


def test_a_port_that_is_taken_is_told(hub: Product) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = hub.cli("serve", "--port", str(taken.getsockname()[1]))

    assert said.returncode == 1
    assert "try --port" in said.stderr
    assert hub.cli("serve", "--port", "0").returncode == 2


def test_a_terminals_console_that_only_looks(hub: Product, agent: FakeAgent) -> None:
    from tests.terminal import Terminal

    with Terminal([str(BIN / "colossus"), "--look"], hub.environment) as terminal:
        terminal.until("10t", "viewer")
        terminal.press("p")
        terminal.until("refused: policy")
