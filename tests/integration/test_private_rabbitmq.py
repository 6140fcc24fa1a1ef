"""The private RabbitMQ meets nobody else on the machine, keeps what it confirmed, and ends with its owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import psutil
import pytest
from yarl import URL

from oms.embedded.child import wait_until
from oms.embedded.folder_lock import FolderInUseError
from oms.embedded.ports import LOOPBACK, free_ports
from tests.support.servers import PROJECT, new_broker
from tools.servers.rabbitmq.broker import PrivateBroker
from tools.servers.rabbitmq.node import RabbitNode, answers_amqp

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rabbitmq") / "node"


@pytest.fixture(scope="module")
def broker(folder: Path) -> Iterator[PrivateBroker]:
    with new_broker(folder) as broker:
        yield broker


async def declare(url: str, queue: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})


async def put(url: str, queue: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue)


async def take(url: str, queue: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        # Delivered once the queue has its leader again, which a `get` would not wait for.
        async with declared.iterator(timeout=60) as messages:
            message = await anext(messages)
            await message.ack()
            return message.body


async def test_it_keeps_confirmed_messages_over_a_crash_and_its_port(broker: PrivateBroker) -> None:
    url = broker.url
    await declare(url, "kept")
    # A quorum queue is safely known (3.10) only half a second after its declaration, or after an orderly end.
    broker.restart()
    await put(url, "kept", b"still here")
    broker.kill()
    assert not answers_amqp(broker.port)
    broker.restart()
    assert broker.url == url
    assert await take(url, "kept") == b"still here"


def test_it_can_be_controlled(broker: PrivateBroker) -> None:
    assert "Ping succeeded" in broker.control("ping") or "pong" in broker.control("eval", "pong.")


def test_all_of_its_ports_are_on_loopback_and_none_is_a_standard_one(broker: PrivateBroker) -> None:
    assert {address for address, _ in listening(broker)} == {LOOPBACK}
    assert not {port for _, port in listening(broker)} & {4369, 5672, 15672, 25672}


def listening(broker: PrivateBroker) -> set[tuple[str, int]]:
    """Where it listens; of a container that is the one port which it publishes."""
    if not isinstance(broker, RabbitNode):
        return {(str(URL(broker.url).host), broker.port)}
    assert broker.pid is not None
    connections = psutil.Process(broker.pid).net_connections()
    return {(each.laddr.ip, each.laddr.port) for each in connections if each.status == psutil.CONN_LISTEN}


def test_a_second_start_in_the_folder_is_refused_by_name(broker: PrivateBroker, folder: Path) -> None:
    with pytest.raises(FolderInUseError, match=f"is in use by process {os.getpid()}"):
        new_broker(folder).start()


def test_a_suspended_broker_says_nothing_until_it_is_resumed(broker: PrivateBroker) -> None:
    broker.suspend()
    try:
        assert wait_until(lambda: not answers_amqp(broker.port), timeout_s=30)
    finally:
        broker.resume()
    assert wait_until(lambda: answers_amqp(broker.port), timeout_s=30)


def test_a_port_that_somebody_took_meanwhile_is_chosen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one among nodes, which RabbitMQ looks at before it starts anything."""
    with socket.create_server((LOOPBACK, 0)) as somebody:
        unlucky = [*free_ports(1), somebody.getsockname()[1]]
        choices = iter([unlucky, free_ports(2)])
        monkeypatch.setattr("tools.servers.rabbitmq.node.free_ports", lambda _: next(choices))
        broker = new_broker(tmp_path / "node")
        with broker:
            assert broker.port != unlucky[0]


OWNER_THAT_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.support.servers import new_broker
broker = new_broker(Path(sys.argv[1]))
broker.start()
print(broker.port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_broker_whose_owner_was_killed_is_replaced(tmp_path: Path) -> None:
    owner = subprocess.run(
        [sys.executable, "-c", OWNER_THAT_IS_KILLED, tmp_path / "node"],
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    assert owner.returncode == -signal.SIGKILL, owner.stderr
    left_over = int(owner.stdout)
    with new_broker(tmp_path / "node") as broker:
        assert answers_amqp(broker.port)
        assert broker.port == left_over or not answers_amqp(left_over)
