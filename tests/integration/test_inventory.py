"""Inventory on a real PostgreSQL: it never oversells, whatever arrives, how often and how many at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from psycopg.errors import CheckViolation
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import Command, ItemQuantity, RestockItems, Verdict
from contracts.envelope import Direction
from contracts.limits import MAX_STOCK
from messaging.consumer import Failed
from messaging.errors import PermanentFailure
from messaging.transport import Delivery
from participants.inventory import handlers
from participants.inventory.postgresql import SqlInventoryTransaction
from participants.kit.handler import KitHandler
from tests.support.participants import Case, Sent, delivered, new_id, unit_of_work


class Inventory:
    """The handler over a database, as one process has it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.sent = Sent()
        self._unit_of_work = unit_of_work(engine, SqlInventoryTransaction, self.sent)
        self._handler = KitHandler(handlers.inventory, new_id)

    async def put(self, **levels: int) -> None:
        async with self.engine.begin() as connection:
            for sku, on_hand in levels.items():
                await connection.execute(
                    text("INSERT INTO inventory.stock VALUES (:sku, :on_hand, 0, now())"),
                    {"sku": sku, "on_hand": on_hand},
                )

    async def serve(self, *commands: Command) -> list[tuple[str, dict[str, Any]]]:
        """Serve a batch; what it answered, in order."""
        failures = await self.deliver([delivered(command) for command in commands])
        assert failures == []
        return self.sent.take()

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Failed]:
        return await self._unit_of_work.run(lambda transaction: self._handler(transaction, deliveries))

    async def fails(self, *commands: Command) -> str:
        """Serve commands of which the last must fail; its dead letter's kind."""
        failures = await self.deliver([delivered(command) for command in commands])
        assert len(failures) == 1
        assert isinstance(failures[0].error, PermanentFailure)
        return failures[0].error.kind

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]

    async def level(self, sku: str) -> tuple[int, int]:
        """On hand and reserved."""
        rows = await self.rows(f"SELECT on_hand, reserved FROM inventory.stock WHERE sku = '{sku}'")
        return rows[0][0], rows[0][1]

    async def states(self) -> Counter[str]:
        return Counter(state for (state,) in await self.rows("SELECT state FROM inventory.ledger"))


@pytest.fixture
def inventory(engine: AsyncEngine) -> Inventory:
    return Inventory(engine)


def types(answers: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [kind for kind, _ in answers]


async def test_it_reserves_all_lines_or_none(inventory: Inventory) -> None:
    await inventory.put(A=5, B=1)
    (kind, body), *rest = await inventory.serve(Case().reserve(A=2, B=2))
    assert (kind, body["code"], body["skus"], rest) == ("InventoryRejectedEvent", "out_of_stock", ["B"], [])
    assert await inventory.level("A") == (5, 0)
    assert types(await inventory.serve(Case().reserve(A=2, B=1))) == ["InventoryReservedEvent"]
    assert (await inventory.level("A"), await inventory.level("B")) == ((5, 2), (1, 1))


async def test_an_unknown_product_is_named_before_a_missing_one(inventory: Inventory) -> None:
    await inventory.put(A=1)
    [(_, body)] = await inventory.serve(Case().reserve(A=9, X=1))
    assert (body["code"], body["skus"]) == ("unknown_sku", ["X"])


async def test_p2_m3_a_repeated_command_gets_the_stored_answer_under_the_same_event_id(
    inventory: Inventory,
) -> None:
    """P2: also after the reservation was committed."""
    await inventory.put(A=5)
    case = Case()
    await inventory.deliver([delivered(case.reserve(A=2))])
    first = inventory.sent.messages.pop()
    await inventory.deliver([delivered(case.commit())])
    inventory.sent.take()
    await inventory.deliver([delivered(case.reserve(A=2))])
    again = inventory.sent.messages.pop()
    assert (again.type, again.body, again.headers["event-id"]) == (
        first.type,
        first.body,
        first.headers["event-id"],
    )
    assert again.message_id != first.message_id
    assert await inventory.level("A") == (3, 0)


async def test_answers_name_their_cause_and_carry_the_trace(inventory: Inventory) -> None:
    await inventory.put(A=5)
    case, traced = Case(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    delivery = delivered(case.reserve(A=1))
    delivery.headers = {**delivery.headers, "traceparent": traced}
    await inventory.deliver([delivery])
    [answer] = inventory.sent.messages
    assert answer.headers["causation-id"] == delivery.message_id
    assert answer.headers["traceparent"] == traced
    assert answer.headers["schema-version"] == 1
    assert "attempt" not in answer.headers
    assert (answer.exchange, answer.routing_key, answer.mandatory) == (
        "oms.events",
        "inventory.reserved",
        True,
    )
    assert answer.correlation_id == case.saga_id


async def test_another_payload_for_the_same_step_fails_for_good(inventory: Inventory) -> None:
    """P2."""
    await inventory.put(A=5)
    case = Case()
    await inventory.serve(case.reserve(A=2))
    assert await inventory.fails(case.reserve(A=3)) == "payload_mismatch"
    assert await inventory.level("A") == (5, 2)


async def test_release_gives_back_what_the_ledger_holds_once(inventory: Inventory) -> None:
    """P3."""
    await inventory.put(A=5)
    case = Case()
    await inventory.serve(case.reserve(A=2))
    [(kind, body)] = await inventory.serve(case.release())
    assert (kind, body["effect"], body["lines"]) == (
        "InventoryReleasedEvent",
        "undone",
        [{"sku": "A", "quantity": 2}],
    )
    [(_, again)] = await inventory.serve(case.release())
    assert again == body
    assert await inventory.level("A") == (5, 0)


async def test_release_before_reserve_leaves_a_tombstone_that_refuses_the_late_reserve(
    inventory: Inventory,
) -> None:
    """P4, P5."""
    await inventory.put(A=5)
    case = Case()
    [(_, body)] = await inventory.serve(case.release())
    assert body["effect"] == "nothing"
    assert types(await inventory.serve(case.reserve(A=2))) == ["StepRefused"]
    assert types(await inventory.serve(case.release(), case.reserve(A=2))) == [
        "InventoryReleasedEvent",
        "StepRefused",
    ]
    assert await inventory.level("A") == (5, 0)


async def test_reserve_after_release_has_no_effect(inventory: Inventory) -> None:
    """P5."""
    await inventory.put(A=5)
    case = Case()
    assert types(await inventory.serve(case.reserve(A=2), case.release(), case.reserve(A=2))) == [
        "InventoryReservedEvent",
        "InventoryReleasedEvent",
        "StepRefused",
    ]
    assert await inventory.level("A") == (5, 0)


async def test_releasing_a_rejected_reservation_finds_nothing(inventory: Inventory) -> None:
    """P4."""
    case = Case()
    await inventory.serve(case.reserve(A=1))
    [(_, body)] = await inventory.serve(case.release())
    assert body["effect"] == "nothing"
    assert await inventory.states() == {"tombstone": 1}


async def test_commit_lowers_on_hand_and_reserved_together_and_records_it(inventory: Inventory) -> None:
    """P11."""
    await inventory.put(A=5)
    case = Case()
    await inventory.serve(case.reserve(A=2))
    [(kind, body)] = await inventory.serve(case.commit())
    assert (kind, body["lines"]) == ("InventoryReducedEvent", [{"sku": "A", "quantity": 2}])
    assert await inventory.level("A") == (3, 0)
    movements = await inventory.rows("SELECT sku, kind, quantity, saga_id FROM inventory.stock_movements")
    assert movements == [("A", "reduction", -2, case.saga_id)]
    assert await inventory.states() == {"consumed": 1, "done": 1}
    assert await inventory.serve(case.commit()) == [(kind, body)]
    assert await inventory.level("A") == (3, 0)


async def test_what_is_consumed_cannot_be_released_nor_what_is_not_reserved_committed(
    inventory: Inventory,
) -> None:
    """P11."""
    await inventory.put(A=5)
    case = Case()
    await inventory.serve(case.reserve(A=2), case.commit())
    assert await inventory.fails(case.release()) == "consumed"
    assert await inventory.fails(Case().commit()) == "not_reserved"
    released = Case()
    await inventory.serve(released.reserve(A=1), released.release())
    assert await inventory.fails(released.commit()) == "not_reserved"
    assert await inventory.level("A") == (3, 0)


async def test_the_culprits_of_a_batch_fail_alone(inventory: Inventory) -> None:
    """S16: nothing that arrives can spoil a batch."""
    await inventory.put(A=5)
    good, other = Case(), Case()
    spoilt = [
        delivered(Case().reserve(A=1), body=b"{"),
        delivered(Case().reserve(A=1), body=b'{"saga_id": "\\ud800"}'),
        delivered(Case().reserve(A=1), type="MakeCoffee"),
        delivered(Case().reserve(A=1), type=None),
        delivered(Case().reserve(A=1), correlation_id=None),
        delivered(Case().reserve(A=1), correlation_id=str(new_id())),
        delivered(Case().reserve(A=1), headers={"schema-version": 2}),
        delivered(Case().reserve(A=1).model_copy(update={"step": "no\x00name"})),
        delivered(Case().reserve(A=1).model_copy(update={"direction": Direction.COMPENSATING})),
        delivered(Case().charge(), type="ChargePayment"),
        delivered(Case().commit()),
    ]
    deliveries = [delivered(good.reserve(A=1)), *spoilt, delivered(other.reserve(A=1))]
    failures = await inventory.deliver(deliveries)
    assert [failed.delivery for failed in failures if failed.delivery not in spoilt] == []
    assert Counter(
        failed.error.kind for failed in failures if isinstance(failed.error, PermanentFailure)
    ) == {
        "undecodable": 3,
        "unknown_type": 3,
        "bad_envelope": 2,
        "unknown_version": 1,
        "wrong_direction": 1,
        "not_reserved": 1,
    }
    assert types(inventory.sent.take()) == ["InventoryReservedEvent"] * 2
    assert await inventory.level("A") == (5, 2)


async def test_a_product_twice_in_one_command_counts_as_its_sum(inventory: Inventory) -> None:
    await inventory.put(A=3)
    command = Case().reserve(A=2)
    doubled = command.model_copy(update={"lines": command.lines * 2})
    [(kind, _)] = await inventory.serve(doubled)
    assert kind == "InventoryRejectedEvent"
    assert await inventory.level("A") == (3, 0)


async def test_many_orders_for_one_product_sell_exactly_what_is_there(inventory: Inventory) -> None:
    """Two processes, small concurrent batches, half of the commands twice."""
    await inventory.put(HOT=40, COLD=1000)
    other = Inventory(inventory.engine)
    cases = [Case() for _ in range(120)]
    commands = [case.reserve(HOT=1, COLD=1) for case in cases] + [
        case.reserve(HOT=1, COLD=1) for case in cases[::2]
    ]
    random.Random(3).shuffle(commands)
    batches = [commands[at : at + 9] for at in range(0, len(commands), 9)]

    async def consume(process: Inventory, mine: list[list[Command]]) -> None:
        for batch in mine:
            await process.deliver([delivered(command) for command in batch])

    await asyncio.gather(
        consume(inventory, batches[0::4]),  # type: ignore[arg-type]
        consume(inventory, batches[1::4]),  # type: ignore[arg-type]
        consume(other, batches[2::4]),  # type: ignore[arg-type]
        consume(other, batches[3::4]),  # type: ignore[arg-type]
    )
    assert await inventory.level("HOT") == (40, 40)
    assert await inventory.level("COLD") == (1000, 40)
    assert await inventory.states() == {"done": 40, "rejected": 80}
    answers = Counter(types(inventory.sent.take() + other.sent.take()))
    assert answers.total() == len(commands)


async def test_the_same_command_at_once_in_many_processes_takes_effect_once(inventory: Inventory) -> None:
    """Whoever is second to write the row runs again and finds it: 'no row' is never acted upon twice."""
    await inventory.put(A=100)
    case = Case()
    processes = [Inventory(inventory.engine) for _ in range(6)]
    await asyncio.gather(*(process.deliver([delivered(case.reserve(A=7))]) for process in processes))
    assert await inventory.level("A") == (100, 7)
    event_ids = {message.headers["event-id"] for process in processes for message in process.sent.messages}
    assert len(event_ids) == 1


async def test_commands_of_both_directions_at_once_leave_nothing_held(inventory: Inventory) -> None:
    await inventory.put(A=1000, B=1000)
    cases = [Case() for _ in range(30)]
    processes = [Inventory(inventory.engine) for _ in range(4)]

    async def storm(process: Inventory, seed: int) -> None:
        rng = random.Random(seed)
        commands: list[Command] = [
            command for case in cases for command in (case.reserve(A=1, B=2), case.release())
        ]
        rng.shuffle(commands)
        while commands:
            batch, commands = commands[:7], commands[7:]
            await process.deliver([delivered(command) for command in batch])

    await asyncio.gather(*(storm(process, seed) for seed, process in enumerate(processes)))
    assert (await inventory.level("A"), await inventory.level("B")) == ((1000, 0), (1000, 0))
    assert set(await inventory.states()) <= {"undone", "tombstone"}


async def test_a_hot_batch_is_one_pass_over_its_products(inventory: Inventory) -> None:
    """As many statements for two hundred orders of one product as for one order."""
    await inventory.put(HOT=10_000)
    statements: list[str] = []
    original = SqlInventoryTransaction.write

    def counting(self: Any, query: str, *rest: Any, **more: Any) -> None:
        statements.append(query)
        original(self, query, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlInventoryTransaction, "write", counting)
        await inventory.serve(Case().reserve(HOT=1))
        one, statements[:] = len(statements), []
        await inventory.serve(*(Case().reserve(HOT=1) for _ in range(200)))
    assert len(statements) == one == 2
    assert await inventory.level("HOT") == (10_000, 201)


async def test_the_database_itself_refuses_to_oversell(inventory: Inventory) -> None:
    await inventory.put(A=1)
    with pytest.raises(Exception, match="never_oversold") as refused:
        await inventory.rows("UPDATE inventory.stock SET reserved = 2 RETURNING 1")
    assert isinstance(refused.value.__cause__, CheckViolation)


async def test_a_crash_after_the_commit_loses_no_answer(inventory: Inventory) -> None:
    """The answer was committed but never sent; the same command brings it again (P2)."""
    await inventory.put(A=5)
    case = Case()
    silent = unit_of_work(inventory.engine, SqlInventoryTransaction)
    handler = KitHandler(handlers.inventory, new_id)
    await silent.run(lambda transaction: handler(transaction, [delivered(case.reserve(A=2))]))
    [(kind, body)] = await inventory.serve(case.reserve(A=2))
    assert (kind, body["lines"]) == ("InventoryReservedEvent", [{"sku": "A", "quantity": 2}])
    assert await inventory.level("A") == (5, 2)


COMPENSATING = Direction.COMPENSATING


async def test_a_verdict_is_accepted_where_the_ledger_agrees(inventory: Inventory) -> None:
    """S19."""
    await inventory.put(A=5)
    case = Case()
    await inventory.serve(case.reserve(A=2), case.release())
    verdict = case.settle("reserve", COMPENSATING, Verdict.TOOK_EFFECT)
    [(kind, body)] = await inventory.serve(verdict)
    assert (kind, body["accepted"]) == ("StepSettled", True)
    assert await inventory.serve(verdict) == [(kind, body)]


async def test_a_verdict_does_not_replace_a_release(inventory: Inventory) -> None:
    """S19: what is held can be released, so nobody may say that it is settled."""
    await inventory.put(A=5)
    case = Case()
    await inventory.serve(case.reserve(A=2))
    for verdict in Verdict:
        [(_, body)] = await inventory.serve(case.settle("reserve", COMPENSATING, verdict))
        assert (body["accepted"], "its effect stands" in body["reason"]) == (False, True)
    assert await inventory.level("A") == (5, 2)


async def test_no_effect_on_an_unseen_step_leaves_a_tombstone(inventory: Inventory) -> None:
    """P10."""
    await inventory.put(A=5)
    case = Case()
    [(_, body)] = await inventory.serve(case.settle("reserve", COMPENSATING, Verdict.NO_EFFECT))
    assert body["accepted"] is True
    assert types(await inventory.serve(case.reserve(A=2))) == ["StepRefused"]
    assert types(await inventory.serve(case.release())) == ["InventoryReleasedEvent"]


async def test_a_consumed_reservation_may_be_settled_outside(inventory: Inventory) -> None:
    """P11, S19: a person put the goods back and set the stock."""
    await inventory.put(A=5)
    case = Case()
    await inventory.serve(case.reserve(A=2), case.commit())
    [(_, body)] = await inventory.serve(case.settle("reserve", COMPENSATING, Verdict.SETTLED_OUTSIDE))
    assert body["accepted"] is True
    assert await inventory.fails(case.release()) == "settled"


class Back(Case):
    """The return of goods, a saga of its own."""

    def restock(self, restock: Any = (), write_off: Any = ()) -> RestockItems:
        return RestockItems(**self._ids("restock", Direction.FORWARD), restock=restock, write_off=write_off)


async def test_s28_goods_that_come_back_are_restocked_once_or_written_off(inventory: Inventory) -> None:
    await inventory.put(A=5, B=1)
    back = Back()
    lines = [ItemQuantity(sku="A", quantity=2)], [ItemQuantity(sku="B", quantity=3)]
    [(kind, body)] = await inventory.serve(back.restock(*lines))
    [again] = await inventory.serve(back.restock(*lines))

    assert (kind, body["restocked"], body["written_off"]) == (
        "ItemsRestockedEvent",
        [{"sku": "A", "quantity": 2}],
        [{"sku": "B", "quantity": 3}],
    )
    assert again == (kind, body)
    assert (await inventory.level("A"), await inventory.level("B")) == ((7, 0), (1, 0))
    moved = "SELECT sku, kind, quantity FROM inventory.stock_movements WHERE saga_id IS NOT NULL"
    assert await inventory.rows(moved) == [("A", "restocking", 2)]


async def test_s31_what_is_taken_from_several_locations_leaves_or_goes_back_where_it_was(
    inventory: Inventory,
) -> None:
    await inventory.put(A=6)
    async with inventory.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO inventory.stock_at VALUES"
                " ('A', 'north', 3, 0, now()), ('A', 'west', 2, 0, now())"
            )
        )
    places = "SELECT location, on_hand, reserved FROM inventory.stock_at ORDER BY location"
    sent, given_back = Case(), Case()
    north = {"sku": "A", "quantity": 3, "location": "north"}
    [(_, body)] = await inventory.serve(sent.reserve(A=4))
    assert body["taken"] == [{"sku": "A", "quantity": 1}, north]
    assert await inventory.rows(places) == [("north", 3, 3), ("west", 2, 0)]

    [(_, second)] = await inventory.serve(given_back.reserve(A=2))
    assert second["taken"] == [{"sku": "A", "quantity": 2, "location": "west"}]
    await inventory.serve(given_back.release())
    assert await inventory.rows(places) == [("north", 3, 3), ("west", 2, 0)]

    more = sent.commit().model_copy(update={"shipped": (ItemQuantity(sku="A", quantity=2),)})
    assert await inventory.fails(more) == "not_reserved"
    part = sent.commit().model_copy(update={"shipped": (ItemQuantity.model_validate(north),)})
    [(_, reduced)] = await inventory.serve(part)
    assert (reduced["lines"], reduced["released"]) == (
        [{"sku": "A", "quantity": 3}],
        [{"sku": "A", "quantity": 1}],
    )
    assert await inventory.level("A") == (3, 0)
    assert await inventory.rows(places) == [("north", 0, 0), ("west", 2, 0)]

    back = ItemQuantity(sku="A", quantity=1, location="north")
    await inventory.serve(Back().restock([back]))
    assert await inventory.rows(places) == [("north", 1, 0), ("west", 2, 0)]
    nowhere = ItemQuantity(sku="A", quantity=1, location="moon")
    assert await inventory.fails(Back().restock([nowhere])) == "unknown_location"


async def test_s28_goods_of_a_product_that_is_gone_wait_for_a_person(inventory: Inventory) -> None:
    await inventory.put(A=5)
    unknown = Back().restock([ItemQuantity(sku="A", quantity=1), ItemQuantity(sku="Z", quantity=1)])
    assert await inventory.fails(unknown) == "unknown_sku"
    assert await inventory.level("A") == (5, 0)


async def test_s28_no_count_is_larger_than_every_reader_holds(inventory: Inventory) -> None:
    await inventory.put(A=MAX_STOCK)
    assert await inventory.fails(Back().restock([ItemQuantity(sku="A", quantity=1)])) == "too_much_stock"
