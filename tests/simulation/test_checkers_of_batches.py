"""The checker of batches objects to a part that is forgotten with its neighbours, to nothing before (M5)."""

from __future__ import annotations

from dataclasses import replace

from messaging.batches import parcels
from messaging.transport import Message
from simulation.checkers import batches
from simulation.facts import Acknowledged, TakenOff
from tests.simulation.bad_traces import Trace, command, delivery_of

COMMANDS = [command("ReserveInventory"), command("ReserveInventory")]
[BATCH] = parcels(COMMANDS, lambda address: True)
QUEUE = "inventory.commands"


def done_with(message: Message, place: int) -> Acknowledged:
    return Acknowledged("inventory-0", replace(delivery_of(message, QUEUE), tag=("side", 7, place)))


def test_m5_a_batch_that_is_forgotten_before_all_of_its_parts_are_done() -> None:
    trace = Trace(batches.DoneWhenAllPartsAre)
    assert trace.see(done_with(COMMANDS[0], 0)) == []
    assert trace.see(TakenOff("side", 7, BATCH.message)) == [
        "ReserveInventory is forgotten by the broker with others, and nobody was done with it"
    ]


def test_m5_a_batch_whose_parts_are_all_done() -> None:
    trace = Trace(batches.DoneWhenAllPartsAre)
    for place, each in enumerate(COMMANDS):
        assert trace.see(done_with(each, place)) == []
    assert trace.see(TakenOff("side", 7, BATCH.message)) == []
