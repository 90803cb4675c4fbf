"""The one module that knows the MQTT library: reads a broker's values, and publishes a model's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from colossus_tui.hub.facility.config import FacilityConfig, read_password
from colossus_tui.hub.facility.link import Link
from colossus_tui.hub.facility.payload import PAYLOAD_BYTES
from colossus_tui.hub.facility.values import Values

LOG = logging.getLogger(__name__)
KEEPALIVE_SECONDS = 20
ANSWER_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
PACKET_BYTES = 16 * PAYLOAD_BYTES  # the broker sends nothing larger
QUEUED_MESSAGES = 50_000  # more at once than a site has points
TOPICS_AT_ONCE = 100
REFUSED = 128  # a reason code from here on
OLD_PROTOCOL = (1, 132)  # the protocol's version is not supported, of MQTT 3.1.1 and 5.0


class Broker:
    """Reads what a broker says, whenever it is there.

    Args:
        pause: How long to wait after so many failures in a row, seconds.
    """

    def __init__(
        self,
        config: FacilityConfig,
        values: Values,
        link: Link,
        pause: Callable[[int], float] | None = None,
    ) -> None:
        self._config = config
        self._values = values
        self._link = link
        self._pause = pause or _jittered
        self._version = aiomqtt.ProtocolVersion.V5

    async def run(self) -> None:
        """Read until cancelled; a broker that goes away is asked again, ever more seldom."""
        failures = 0
        while True:
            try:
                async with self._client() as client:
                    await self._subscribe(client)
                    self._link.up()
                    failures = 0
                    await self._read(client)
            except aiomqtt.MqttCodeError as error:
                self._link.away(_said(error))
                self._choose_version(error)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                self._link.away(_said(error))
            await asyncio.sleep(self._pause(failures))
            failures += 1

    def _choose_version(self, error: aiomqtt.MqttCodeError) -> None:
        """Fall back to MQTT 3.1.1, where a broker cannot be told how large a message may be."""
        if _code(error.rc) in OLD_PROTOCOL:
            self._version = aiomqtt.ProtocolVersion.V311

    def _client(self) -> aiomqtt.Client:
        config, context, properties = self._config, None, None
        if config.tls:
            file = str(config.ca_file) if config.ca_file else None
            context = ssl.create_default_context(cafile=file)
        if self._version is aiomqtt.ProtocolVersion.V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.MaximumPacketSize = PACKET_BYTES
        return aiomqtt.Client(
            config.host,
            config.port,
            username=config.user or None,
            password=read_password(config.password_file),
            protocol=self._version,
            properties=properties,
            tls_context=context,
            timeout=ANSWER_SECONDS,
            keepalive=KEEPALIVE_SECONDS,
            max_queued_incoming_messages=QUEUED_MESSAGES,
        )

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        topics = [f"{self._config.prefix}/#"]
        topics += dict.fromkeys(point.source for point in self._config.points)
        refused: list[str] = []
        for first in range(0, len(topics), TOPICS_AT_ONCE):
            some = topics[first : first + TOPICS_AT_ONCE]
            codes = await client.subscribe([(topic, 0) for topic in some])
            refused += [
                topic for topic, code in zip(some, codes, strict=False) if _code(code) >= REFUSED
            ]
        for topic in refused:
            self._values.fault("not_allowed", topic, "the broker refuses the subscription")

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            data = payload if isinstance(payload, bytes) else str(payload).encode()
            if self._values.take(str(message.topic), data, retained=bool(message.retain)):
                self._link.took()


def _code(code: object) -> int:
    """Return a reason code as a number: the library has objects for those of MQTT 5.0."""
    number = getattr(code, "value", code)
    return number if isinstance(number, int) else 0


def _jittered(failures: int) -> float:
    longest = min(FIRST_PAUSE_SECONDS * 2 ** min(failures, 10), LONGEST_PAUSE_SECONDS)
    return random.uniform(0.1, longest)


def _said(error: Exception) -> str:
    cause = error.__cause__
    return str(error) if cause is None else f"{error}: {cause}"


@contextlib.asynccontextmanager
async def publisher(
    host: str, port: int
) -> AsyncIterator[Callable[[Sequence[tuple[str, str]]], Awaitable[None]]]:
    """Yield a coroutine function that publishes topics with payloads, for as long as this is open.

    Raises:
        OSError: The broker is not there, or went away.
    """
    try:
        async with aiomqtt.Client(host, port, timeout=ANSWER_SECONDS) as client:

            async def publish(messages: Sequence[tuple[str, str]]) -> None:
                for topic, payload in messages:
                    await client.publish(topic, payload)

            yield publish
    except aiomqtt.MqttError as error:
        raise ConnectionError(_said(error)) from None
