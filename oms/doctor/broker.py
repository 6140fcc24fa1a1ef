"""The broker of the settings, node by node: whether it lets us in, has our queues, and is ours."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import UUID

from messaging.rabbitmq.connection import BrokerConnection, BrokerError, asking, broker_url, close_quietly
from messaging.rabbitmq.ownership import is_claimed, is_ours
from oms import broker_setup
from oms.doctor.finding import Finding, note, well, wrong
from oms.failures import Failure
from oms.identity import known_installation
from oms.settings import Settings

OLDEST: Final = (3, 10)
"""The first RabbitMQ whose quorum queues do all that is needed."""

_RABBITMQ: Final = re.compile(r"RabbitMQ (\d+)\.(\d+)\b.*")
_NOT_FOUND: Final = 404


async def broker_findings(settings: Settings) -> AsyncIterator[Finding]:
    """What there is to say of it. Nothing is declared: whatever is missing is told."""
    if not settings.broker_url:
        yield note(
            "broker", "OMS_BROKER_URL is not set: `oms run` does without, every other process needs it"
        )
        return
    answering: BrokerConnection | None = None
    for text in settings.broker_url:
        url = broker_url(text)
        of = f"broker {url.host}:{url.port}"
        try:
            connection = await BrokerConnection.open(url, "oms doctor")
        except BrokerError as error:
            yield wrong(of, str(error))
            continue
        yield product_finding(of, connection.product)
        if answering is None:
            answering = connection
        else:
            await connection.close()
    if answering is None:
        return
    try:
        yield await _queues(settings, answering)
        yield await _owner(settings, answering)
    except BrokerError as error:
        yield wrong("broker", str(error))
    finally:
        await answering.close()


def product_finding(of: str, product: str) -> Finding:
    """What is said of a broker that calls itself so, as in ``RabbitMQ 4.0.5``."""
    found = _RABBITMQ.fullmatch(product)
    if found is None:
        return note(of, f"{product}, which nobody has tried")
    if (int(found[1]), int(found[2])) < OLDEST:
        return wrong(of, f"{product} is too old: install {'.'.join(map(str, OLDEST))} or newer")
    return well(of, product)


async def _queues(settings: Settings, connection: BrokerConnection) -> Finding:
    names = [queue.name for queue in broker_setup.queues(settings)]
    missing = [name for name in names if not await _has(connection, name)]
    if missing:
        return wrong("queues", f"run `oms broker setup`: {_some(missing)} of {len(names)} not there")
    return well("queues", f"all {len(names)} are there")


async def _has(connection: BrokerConnection, queue: str) -> bool:
    channel = await connection.plain_channel()
    try:
        async with asking():
            await channel.queue_declare(queue, passive=True)
    except BrokerError as error:
        if error.code != _NOT_FOUND:
            raise
        return False
    finally:
        await close_quietly(channel)
    return True


async def _owner(settings: Settings, connection: BrokerConnection) -> Finding:
    of = "virtual host"
    try:
        installation: UUID | None = await known_installation(settings)
    except Failure:
        installation = None  # said where the databases are looked at
    if not await is_claimed(connection, ""):
        return wrong(of, "it bears no installation's mark: run `oms broker setup`")
    if installation is None:
        return note(of, "whose it is cannot be compared: no database says which installation this is")
    if not await is_ours(connection, installation, ""):
        return wrong(
            of, "it is another installation's: correct OMS_BROKER_URL, or see `oms broker setup --take-over`"
        )
    return well(of, "it is this installation's")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
