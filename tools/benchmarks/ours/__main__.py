"""One process of the project: ``python -m tools.benchmarks.ours SERVICE WORKLOAD``, by OMS_ variables.

``intake`` is the orchestrator, driven from its own intake, as the floor is; ``orchestrator`` is the same for
orders that come over HTTP; ``api`` serves HTTP on the port that OMS_BENCH_PORT names; ``everything`` is the
intake's orchestrator and all participants in one process without a broker; any other name is a participant's.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from time import process_time

import uvloop
from pydantic import SecretStr

from contracts.orders import Order
from contracts.routing import PARTICIPANTS, Batches
from messaging.rabbitmq import RabbitMqTransport
from oms.broker_setup import agree
from oms.garbage import collect_seldom
from oms.http_api import Notifying
from oms.observing.logs import configure_logs
from oms.processes import serving_api
from oms.settings import Settings, load_settings
from oms.wiring import Parts, deployment, over_rabbitmq, participant_service, within_this_process
from orchestrator.core.state import Saga
from orchestrator.intake import Submission
from orchestrator.sagas.order_fulfillment import NAME
from orchestrator.service import Front, OrchestratorService
from participants.payment.gateway import PaymentGateway
from participants.service import ParticipantService
from participants.shipping.carrier import Carrier
from tools.benchmarks.closed_loop import ClosedLoop, drive, stay
from tools.benchmarks.ours.providers import InstantCarrier, InstantGateway
from tools.benchmarks.ours.recorder import recorded
from tools.benchmarks.workload import WORKLOADS

PORT_VARIABLE = "OMS_BENCH_PORT"
BATCHES_VARIABLE = "OMS_BENCH_BATCHES"
"""Which messages travel in batches; see `Batches`."""

PROFILE_VARIABLE = "OMS_BENCH_PROFILE"
"""A folder; each process leaves its profile there."""


class BenchParts(Parts):
    """The project's parts, with providers that answer at once."""

    def payment_gateway(self) -> PaymentGateway:
        """See `Parts`."""
        return InstantGateway()

    def carrier(self) -> Carrier:
        """See `Parts`."""
        return InstantCarrier()


class IntakeDriver:
    """Submits orders to the intake and notes the ends of their sagas."""

    def __init__(self, parts: Parts, notifying: Notifying, orders: Sequence[Order]) -> None:
        self.loop = ClosedLoop(self._launch)
        made_with = deployment(parts)
        self.transport = made_with.transport
        self._notifying = notifying
        self.service = OrchestratorService(made_with, self._note_progress)
        self.front = Front(made_with)
        self._new_id = parts.new_id
        self._orders = cycle(orders)
        self._tasks: set[asyncio.Task[object]] = set()

    def _launch(self, count: int) -> None:
        for _ in range(count):
            order = next(self._orders)
            submission = Submission(NAME, order, order.customer_id, self._new_id(), self._new_id())
            self.loop.began(submission.saga_id)
            task = asyncio.create_task(self.front.intake.submit(submission))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _note_progress(self, sagas: Sequence[Saga]) -> None:
        self._notifying.notifier(sagas)
        for saga in sagas:
            if saga.ended_at is not None:
                self.loop.ended(saga.saga_id, saga.label)


async def drive_intake(parts: Parts, notifying: Notifying, workload: str) -> None:
    """The orchestrator, driven from its own intake."""
    orders = [Order.model_validate(order) for order in WORKLOADS[workload].orders(1000, seed=1)]
    driver = IntakeDriver(parts, notifying, orders)
    await driver.service.start()
    if isinstance(driver.transport, RabbitMqTransport):
        batches = Batches(os.environ.get(BATCHES_VARIABLE, Batches.COMMANDS))
        await agree(driver.transport, batches, parts.settings)
    await driver.front.start()
    collect_seldom()
    with profiled("intake"), recorded("orchestrator"):
        await drive(driver.loop)
    await driver.front.stop()
    await driver.service.stop()


async def drive_everything(parts: Parts, notifying: Notifying, workload: str) -> None:
    """The orchestrator, driven from its own intake, and its participants beside it, as `oms run` has them."""
    participants = [participant_service(parts, name) for name in PARTICIPANTS]
    for participant in participants:
        await participant.start()
    await drive_intake(parts, notifying, workload)
    for participant in participants:
        await participant.stop()


async def serve(name: str, service: OrchestratorService | ParticipantService) -> None:
    """The orchestrator or a participant, left to itself."""
    await service.start()
    collect_seldom()
    with profiled(name), recorded(name):
        await stay()
    await service.stop()


async def run(name: str, workload: str, settings: Settings) -> None:
    """Serve until the harness hangs up."""
    configure_logs(settings, name)
    async with AsyncExitStack() as exits:
        transports = within_this_process() if name == "everything" else over_rabbitmq(settings)
        parts = BenchParts(settings, transports, rng=random.Random())
        exits.push_async_callback(parts.close)
        if name == "api":
            port = int(os.environ[PORT_VARIABLE])
            await exits.enter_async_context(serving_api(parts, "127.0.0.1", port, SecretStr("bench-token")))
            collect_seldom()
            with profiled(name):
                await stay()
        elif name in PARTICIPANTS:
            await serve(name, participant_service(parts, name))
        else:
            notifying = Notifying(parts)
            notifying.start()
            exits.push_async_callback(notifying.stop)
            if name == "intake":
                await drive_intake(parts, notifying, workload)
            elif name == "everything":
                await drive_everything(parts, notifying, workload)
            else:
                await serve(name, OrchestratorService(deployment(parts), notifying.notifier))


@contextmanager
def profiled(name: str) -> Iterator[None]:
    """Profile what happens within by CPU time, where that is asked for; starting up is left out."""
    folder = os.environ.get(PROFILE_VARIABLE)
    if folder is None:
        yield
        return
    profile = cProfile.Profile(process_time)
    profile.enable()
    yield
    profile.disable()
    Path(folder).mkdir(parents=True, exist_ok=True)
    profile.dump_stats(Path(folder) / f"{name}.prof")


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], sys.argv[2], load_settings(log_level="warning")))
