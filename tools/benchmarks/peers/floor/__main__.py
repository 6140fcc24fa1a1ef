"""One process of a floor. Arguments: which floor, service, broker, database, workload."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from oms.garbage import collect_seldom
from tools.benchmarks.closed_loop import drive, stay
from tools.benchmarks.peers.floor.orchestrator import Orchestrator
from tools.benchmarks.peers.floor.participant import Inventory, Participant
from tools.benchmarks.peers.floor.service import IN_BATCHES, SINGLY, Places, Service
from tools.benchmarks.workload import WORKLOADS

FLOORS = {"floor": SINGLY, "floor-batches": IN_BATCHES}
"""By name, which is also the prefix of what it has at the broker: how its messages travel."""


async def run(name: str, places: Places, workload: str) -> None:
    """Serve until the harness hangs up, or something fails."""
    service = await Service.open(name, places)
    async with asyncio.TaskGroup() as loops:
        if name == "orchestrator":
            orchestrator = Orchestrator(service, WORKLOADS[workload].orders(1000, seed=1))
            work = [orchestrator.start_sagas(), orchestrator.move_sagas()]
            talk = drive(orchestrator.loop)
        else:
            participant = Inventory(service) if name == "inventory" else Participant(service)
            work, talk = [participant.run()], stay()
        collect_seldom()
        running = [loops.create_task(each) for each in work]
        await talk
        for task in running:
            task.cancel()
    await service.transport.close()


if __name__ == "__main__":
    floor, name, broker, database, workload = sys.argv[1:]
    uvloop.run(run(name, Places(broker, database, f"{floor}.", FLOORS[floor]), workload))
