"""How long a queue is can be asked by a user who may do nothing else, as scalers do (docs/kubernetes.md)."""

from __future__ import annotations

import asyncio

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused
from pamqp.common import Arguments

from contracts.routing import command_queue
from tools.servers.rabbitmq.broker import PrivateBroker

USER = "oms_scaling"
QUEUE = command_queue("payment")
QUORUM: Arguments = {"x-queue-type": "quorum"}


async def test_a_user_without_rights_sees_how_many_messages_wait_and_takes_none(
    private_broker: PrivateBroker,
) -> None:
    await asyncio.to_thread(private_broker.control, "add_user", USER, USER)
    await asyncio.to_thread(private_broker.control, "set_permissions", USER, "^$", "^$", "^$")
    async with await aio_pika.connect(private_broker.url) as owner:
        channel = await owner.channel()
        await channel.declare_queue(QUEUE, durable=True, arguments=QUORUM)
        for number in range(3):
            await channel.default_exchange.publish(aio_pika.Message(b"%d" % number), QUEUE)

        async with await aio_pika.connect(f"amqp://{USER}:{USER}@127.0.0.1:{private_broker.port}/") as scaler:
            queue = await (await scaler.channel()).declare_queue(QUEUE, passive=True)
            assert queue.declaration_result.message_count == 3
            with pytest.raises(ChannelAccessRefused):
                await queue.get()
            with pytest.raises(ChannelAccessRefused):
                await (await scaler.channel()).declare_queue("another")
