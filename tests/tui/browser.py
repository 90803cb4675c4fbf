"""A headless Chromium, driven by its DevTools: it opens a page, presses keys and is looked at."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pyte

CHROMIUM = shutil.which("chromium") or "chromium"


class Page:
    """One page, and what its websocket was sent.

    Attributes:
        screen: What was drawn, as a terminal would; beside it `canvas` says what is to be seen.
        errors: What the page itself complained of.
        requests: Every address that it asked for.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.screen = pyte.Screen(80, 24)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._stream = pyte.ByteStream(self.screen)
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.session = ""

    async def listen(self) -> None:
        """Take in what the browser says, until it goes away."""
        async for message in self._socket:
            said = json.loads(message.data)
            if (answer := self._answers.pop(said.get("id", 0), None)) is not None:
                answer.set_result(said.get("result", said.get("error")))
            match said.get("method"):
                case "Network.webSocketFrameReceived":
                    frame = said["params"]["response"]
                    if frame["opcode"] == 2:
                        self._stream.feed(base64.b64decode(frame["payloadData"]))
                case "Network.webSocketCreated":
                    size = parse_qs(urlsplit(said["params"]["url"]).query)
                    self.screen.resize(int(size["height"][0]), int(size["width"][0]))
                case "Network.requestWillBeSent":
                    self.requests.append(said["params"]["request"]["url"])
                case "Log.entryAdded":
                    self.errors.append(said["params"]["entry"]["text"])
                case "Runtime.exceptionThrown":
                    self.errors.append(json.dumps(said["params"]["exceptionDetails"]))

    async def call(self, method: str, **parameters: Any) -> Any:
        """Ask the browser for something, and return what it answers."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        call = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(call | ({"sessionId": self.session} if self.session else {}))
        return await asyncio.wait_for(answer, 20)

    async def evaluate(self, script: str) -> Any:
        """Return the value of a script in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def click(self, x: int, y: int) -> None:
        """Click: the first one gives the page the keys."""
        for what in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=what, x=x, y=y, button="left", clickCount=1
            )

    async def press(self, key: str) -> None:
        """Press a key that writes a letter."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=key, key=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    @property
    def text(self) -> str:
        """What the page was told to draw."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    async def until(self, *wanted: str, seconds: float = 30.0) -> None:
        """Wait until it shows all of these."""
        await self.until_that(lambda: all(one in self.text for one in wanted), seconds)

    async def until_that(self, holds: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until something holds of it."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not holds():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"it never came true of the page:\n{self.text}\n{self.errors}")
            await asyncio.sleep(0.05)

    async def picture(self) -> bytes:
        """Return what is to be seen, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def browser(folder: Path, address: str) -> AsyncIterator[Page]:
    """Open an address in a new browser and yield the page."""
    words = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *words, f"--user-data-dir={folder}", "--window-size=1000,700", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:
            devtools = await asyncio.wait_for(_devtools(process), 30)
            async with session.ws_connect(devtools, max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                target = await page.call("Target.createTarget", url="about:blank")
                attached = await page.call(
                    "Target.attachToTarget", targetId=target["targetId"], flatten=True
                )
                page.session = attached["sessionId"]
                for domain in ("Network", "Runtime", "Log", "Page"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=address)
                yield page
                listening.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _devtools(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        if found := re.search(rb"DevTools listening on (ws://\S+)", line):
            return found[1].decode()
    raise AssertionError("chromium has ended")
