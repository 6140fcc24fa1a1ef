"""Conformance of a participant on a RabbitMQ: declared, played, and tidied up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from messaging.identifiers import time_ordered_ids
from messaging.rabbitmq import RabbitMqTransport
from messaging.rabbitmq.connection import BrokerConnection, BrokerError, asking, broker_url
from messaging.transport import TopologyMismatch
from oms.conformance.checks import participant_report
from oms.conformance.play import Play, Restart, Tell
from oms.conformance.repertoire import Repertoire
from oms.conformance.stand_in import Patience, StandIn, answers_queue
from oms.conformance.verdict import Report
from oms.failures import Failure

CONNECTED_WITHIN_S: Final = 30.0
COMMAND_WITHIN_S: Final = 120.0
"""Seconds that a restart command gets."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried with which participant, and how.

    Attributes:
        retry_delays_s: of the retry queues that are declared for it.
        restart: a shell command that kills the participant and starts it again, and ends then.
        over_leftovers: see `StandIn.start`.
    """

    participant: str
    repertoire: Repertoire
    retry_delays_s: Sequence[float]
    patience: Patience
    burst: int = 1000
    prefetch: int = 500
    restart: str | None = None
    over_leftovers: bool = False


async def on_rabbitmq(urls: Sequence[str], trial: Trial, tell: Tell = lambda _: None) -> Report:
    """Play the trial against the participant at this broker. Its queues stay; the one of ours goes.

    Raises:
        Failure: the broker cannot be used, an orchestrator is at work there, or nobody consumes.
    """
    transport = RabbitMqTransport(urls, name="oms conformance")
    new_id = time_ordered_ids(random.SystemRandom())
    stand_in = StandIn(transport, trial.participant, new_id, trial.retry_delays_s, trial.patience)
    try:
        await _start(transport, stand_in, trial)
        restart = None if trial.restart is None else by_command(trial.restart)
        play = Play(stand_in, trial.repertoire, trial.burst, trial.prefetch, restart)
        return await participant_report(play, tell)
    finally:
        await stand_in.stop()
        await transport.close()
        await _tidy(urls, answers_queue(trial.participant))


def by_command(command: str) -> Restart:
    """A restart by a shell command, whose output goes to stderr. Raises Failure when it fails."""

    async def restart() -> None:
        process = await asyncio.create_subprocess_shell(command, stdin=asyncio.subprocess.DEVNULL, stdout=2)
        try:
            async with asyncio.timeout(COMMAND_WITHIN_S):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            raise Failure(f"--restart: the command has not ended within {COMMAND_WITHIN_S:g} s") from None
        if code:
            raise Failure(f"--restart: the command ended with {code}")

    return restart


async def _start(transport: RabbitMqTransport, stand_in: StandIn, trial: Trial) -> None:
    within_s = CONNECTED_WITHIN_S + trial.patience.answer_s
    try:
        async with asyncio.timeout(within_s):
            await stand_in.start(over_leftovers=trial.over_leftovers)
    except TimeoutError:
        raise Failure(transport.trouble or f"the broker was not ready within {within_s:g} s") from None
    except TopologyMismatch as error:
        raise Failure(str(error)) from None


async def _tidy(urls: Sequence[str], queue: str) -> None:
    """Delete the queue of ours. Where that fails it stays, and is used again the next time."""
    try:
        connection = await BrokerConnection.open(broker_url(urls[0]), "oms conformance")
    except BrokerError:
        return
    try:
        channel = await connection.plain_channel()
        async with asking():
            await channel.queue_delete(queue)
    except BrokerError:
        return
    finally:
        await connection.close()
