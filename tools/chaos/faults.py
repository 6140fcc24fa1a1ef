"""Everything that can go wrong, as data: what it is done to, how often it is drawn, and how it is done.

A fault is a coroutine that begins it, lets it last for a while, and ends it; when it returns, everything
that it took away is back. It is cut short only by the end of the whole run: the stage tidies up then.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from contracts.routing import COMMANDS_EXCHANGE, PARTICIPANTS, command_queue
from tools.chaos.stage import PROVIDER_TIMEOUT_S, WORK_QUEUES, Stage

S = TypeVar("S", contravariant=True)
Play = Callable[[S, random.Random], Awaitable[None]]

SETTLED_S: Final = 3.0
"""A quorum queue must be so old before its node is killed: RabbitMQ 3.10 may forget a younger one."""

SERVICES: Final = ("api", "orchestrator", *PARTICIPANTS, "sandbox")


@dataclass(frozen=True, slots=True)
class Fault(Generic[S]):
    """One kind of trouble on a stage `S`.

    Attributes:
        target: what it is done to; two faults at once never have the same.
        weight: how often it is drawn, beside the others.
        ends: whether a process of a service ends, and with it all that it held.
    """

    name: str
    target: str
    play: Play[S]
    weight: int = 2
    ends: bool = False


# -- services -------------------------------------------------------------------------------------------


async def _kill(service: str, stage: Stage, rng: random.Random) -> None:
    await stage.services.services[service].end(signal.SIGKILL)
    await asyncio.sleep(rng.uniform(0, 1.5))
    await _back(stage, service)


async def _restart(service: str, stage: Stage, rng: random.Random) -> None:
    code = await stage.services.services[service].end(signal.SIGTERM)
    if code != 0:
        raise AssertionError(f"{service} was asked to end and answered {code}")
    await _back(stage, service)


async def _back(stage: Stage, service: str) -> None:
    await stage.services.services[service].start()
    await stage.services.services[service].up()


async def _freeze(service: str, stage: Stage, rng: random.Random) -> None:
    stage.services.services[service].signal(signal.SIGSTOP)
    await asyncio.sleep(rng.uniform(0.5, 4))
    stage.services.services[service].signal(signal.SIGCONT)


# -- RabbitMQ -------------------------------------------------------------------------------------------


async def _restart_broker(stage: Stage, rng: random.Random) -> None:
    await _settled(stage)
    await asyncio.to_thread(stage.broker.restart)


async def _kill_broker(stage: Stage, rng: random.Random) -> None:
    await _settled(stage)
    await asyncio.to_thread(stage.broker.kill)
    await asyncio.to_thread(stage.broker.restart)


async def _settled(stage: Stage) -> None:
    await asyncio.sleep(stage.declared_at + SETTLED_S - asyncio.get_running_loop().time())


async def _freeze_broker(stage: Stage, rng: random.Random) -> None:
    stage.broker.suspend()
    try:
        await asyncio.sleep(rng.uniform(1, 4))
    finally:
        stage.broker.resume()


async def _close_connections(stage: Stage, rng: random.Random) -> None:
    await stage.control("close_all_connections", "an operator wants it")


async def _delete_queue(stage: Stage, rng: random.Random) -> None:
    async with stage.channel() as channel:
        await channel.queue_delete(rng.choice(WORK_QUEUES))
    stage.declared_at = asyncio.get_running_loop().time() + 2.0


async def _purge(stage: Stage, rng: random.Random) -> None:
    async with stage.channel() as channel:
        for _ in range(rng.randint(1, 5)):
            for queue in WORK_QUEUES:
                await (await channel.get_queue(queue, ensure=False)).purge()
            await asyncio.sleep(0.2)


async def _unbind(stage: Stage, rng: random.Random) -> None:
    """What is published comes back as unroutable, until somebody binds again."""
    participant = rng.choice(PARTICIPANTS)
    async with stage.channel() as channel:
        queue = await channel.get_queue(command_queue(participant), ensure=False)
        await queue.unbind(COMMANDS_EXCHANGE, participant)
        await asyncio.sleep(rng.uniform(0.5, 2))
        await queue.bind(COMMANDS_EXCHANGE, participant)


async def _raise_memory_alarm(stage: Stage, rng: random.Random) -> None:
    await stage.control("set_vm_memory_high_watermark", "0.00001")
    await asyncio.sleep(rng.uniform(0, 2))
    await stage.control("set_vm_memory_high_watermark", "0.4")


async def _fill_queue(stage: Stage, rng: random.Random) -> None:
    """A policy that leaves no room: the broker refuses every message that comes to a work queue."""
    policy = ("set_policy", "full", r"^(orchestrator\.outcomes|[a-z]+\.commands)$")
    await stage.control(*policy, '{"max-length":0}', "--apply-to", "queues")
    await asyncio.sleep(rng.uniform(0, 2))
    await stage.control("clear_policy", "full")


# -- PostgreSQL -----------------------------------------------------------------------------------------


async def _restart_database(stage: Stage, rng: random.Random) -> None:
    await asyncio.to_thread(stage.database.restart)


async def _kill_database(stage: Stage, rng: random.Random) -> None:
    await asyncio.to_thread(stage.database.kill)
    await asyncio.sleep(rng.uniform(0, 1))
    await asyncio.to_thread(stage.database.restart)


async def _close_sessions(stage: Stage, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        await stage.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await asyncio.sleep(0.2)


# -- the network, by a proxy ----------------------------------------------------------------------------


async def _delay(way: str, stage: Stage, rng: random.Random) -> None:
    stage.proxies[way].delay_s = rng.uniform(0.02, 0.3)
    await asyncio.sleep(rng.uniform(1, 4))
    stage.proxies[way].delay_s = 0.0


async def _reset(way: str, stage: Stage, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        stage.proxies[way].reset()
        await asyncio.sleep(rng.uniform(0, 0.7))


async def _cut(way: str, stage: Stage, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        stage.proxies[way].cut_after(rng.randint(1, 2000))
        await asyncio.sleep(rng.uniform(0.2, 0.7))


async def _swallow(way: str, stage: Stage, rng: random.Random) -> None:
    """Nothing passes, nobody is told; in the end the connections turn out to be dead."""
    stage.proxies[way].swallowing = True
    await asyncio.sleep(rng.uniform(1, 5))
    stage.proxies[way].calm()


async def _refuse(way: str, stage: Stage, rng: random.Random) -> None:
    stage.proxies[way].refusing = True
    stage.proxies[way].reset()
    await asyncio.sleep(rng.uniform(0.5, 3))
    stage.proxies[way].refusing = False


async def _drop_confirms(stage: Stage, rng: random.Random) -> None:
    """Everything else passes: what was published has arrived, and nobody says so."""
    stage.proxies["broker"].dropping_confirms = True
    await asyncio.sleep(rng.uniform(1, 4))
    stage.proxies["broker"].dropping_confirms = False
    if rng.random() < 0.5:
        stage.proxies["broker"].reset()


# -- providers, by a proxy ------------------------------------------------------------------------------


async def _slow_provider(way: str, stage: Stage, rng: random.Random) -> None:
    stage.proxies[way].reply_delay_s = rng.uniform(0.2, 0.8)
    await asyncio.sleep(rng.uniform(1, 4))
    stage.proxies[way].reply_delay_s = 0.0


async def _late_provider(way: str, stage: Stage, rng: random.Random) -> None:
    """It does what it is asked, and answers when nobody waits any more."""
    stage.proxies[way].reply_delay_s = PROVIDER_TIMEOUT_S + rng.uniform(0.2, 1)
    await asyncio.sleep(rng.uniform(1, 4))
    stage.proxies[way].reply_delay_s = 0.0


def _catalogue() -> tuple[Fault[Stage], ...]:
    faults: list[Fault[Stage]] = []
    for name in SERVICES:
        faults += [
            Fault(f"{name}: SIGKILL", name, partial(_kill, name), 3, ends=True),
            Fault(f"{name}: SIGTERM, restart", name, partial(_restart, name), 1, ends=True),
            Fault(f"{name}: SIGSTOP, SIGCONT", name, partial(_freeze, name), 2),
        ]
    faults += [
        Fault("RabbitMQ: restart", "broker", _restart_broker, 2),
        Fault("RabbitMQ: SIGKILL", "broker", _kill_broker, 3),
        Fault("RabbitMQ: SIGSTOP, SIGCONT", "broker", _freeze_broker, 3),
        Fault("RabbitMQ: all connections closed", "broker", _close_connections, 3),
        Fault("RabbitMQ: a consumed queue deleted", "broker", _delete_queue, 4),
        Fault("RabbitMQ: work queues purged", "broker", _purge, 4),
        Fault("RabbitMQ: a command queue unbound", "broker", _unbind, 3),
        Fault("RabbitMQ: memory alarm", "broker", _raise_memory_alarm, 3),
        Fault("RabbitMQ: queues full", "broker", _fill_queue, 3),
        Fault("PostgreSQL: restart", "database", _restart_database, 3),
        Fault("PostgreSQL: SIGKILL", "database", _kill_database, 4),
        Fault("PostgreSQL: all sessions ended", "database", _close_sessions, 4),
        Fault("way to RabbitMQ: confirms dropped", "broker", _drop_confirms, 6),
    ]
    for way, server in (("broker", "RabbitMQ"), ("database", "PostgreSQL")):
        faults += [
            Fault(f"way to {server}: delayed", way, partial(_delay, way)),
            Fault(f"way to {server}: reset", way, partial(_reset, way), 3),
            Fault(f"way to {server}: cut in mid-message", way, partial(_cut, way), 5),
            Fault(f"way to {server}: swallows all", way, partial(_swallow, way), 3),
        ]
    for way in ("gateway", "carrier"):
        faults += [
            Fault(f"{way}: down", way, partial(_refuse, way), 3),
            Fault(f"{way}: slow", way, partial(_slow_provider, way)),
            Fault(f"{way}: answers after the time-out", way, partial(_late_provider, way), 3),
        ]
    return tuple(faults)


CATALOGUE: Final = _catalogue()
"""All faults. Their names are the lines of the table."""


def drawn(count: int, rng: random.Random, of: Sequence[Fault[Stage]] = CATALOGUE) -> list[list[Fault[Stage]]]:
    """`count` faults in rounds of one, sometimes of two at once."""
    bag: list[Fault[Stage]] = []
    order: list[Fault[Stage]] = []
    while len(order) < count:
        if not bag:
            bag = [fault for fault in of for _ in range(fault.weight)]
            rng.shuffle(bag)
        order.append(bag.pop())
    rounds: list[list[Fault[Stage]]] = []
    for fault in order:
        together = rounds and len(rounds[-1]) == 1 and rng.random() < 0.25
        if together and rounds[-1][0].target != fault.target:
            rounds[-1].append(fault)
        else:
            rounds.append([fault])
    return rounds
