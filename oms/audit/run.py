"""The audit itself: ended sagas first, the participants after, the providers last; one pass over each."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from contracts.commands import ReserveInventory
from contracts.routing import INVENTORY, ORCHESTRATOR, PAYMENT, SHIPPING
from oms.audit import reading
from oms.audit.checklist import (
    OF_COMPLETED,
    OF_NOT_RETURNED,
    OF_RETURNED,
    OF_STOCK,
    OF_UNDONE,
    Check,
)
from oms.audit.checks import EFFECTIVE, HOLDING, stock_objections
from oms.audit.facts import LedgerFact, Money, OrderFacts, Returns, SagaFact, StockFact
from oms.audit.merging import identities
from oms.audit.report import Finding, Report
from oms.audit.sources import NEEDED, SANDBOX, Installed, Snapshots, Sources, snapshots
from oms.sandbox.tables import AUTHORIZATIONS, CHARGES, SHIPMENTS
from orchestrator.sagas.order_fulfillment import NAME
from orchestrator.sagas.order_return import NAME as ORDER_RETURN

OnProgress = Callable[[int, int], None]
"""Called with the orders judged so far and how many there are."""

GROUP: Final = 500
"""Orders whose provider entries are read together."""

OUR_OWN: Final = (INVENTORY, PAYMENT, SHIPPING)
"""Participants whose work means what `checks` knows."""

_BOOKS: Final = "the sandbox's books"
_MONEY: Final = "money"
_PARCELS: Final = "parcels"


def _ignore(done: int, total: int) -> None:
    return None


async def audit(sources: Sources, on_progress: OnProgress = _ignore) -> Report:
    """Check every ended order and every product.

    Raises:
        AuditImpossible: a schema is missing or may not be read.
    """
    async with snapshots(sources) as opened:
        return await _Audit(opened, sources.installed, on_progress).run()


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the schemas hold under one saga id; ``order`` is None where there is no such saga."""

    saga_id: UUID
    order: OrderFacts | None
    ledger: tuple[LedgerFact, ...]
    reduced: bool


class _Audit:
    """One run over open snapshots."""

    def __init__(self, opened: Snapshots, installed: Installed, on_progress: OnProgress) -> None:
        self._opened = opened
        self._places = installed.places
        self._installed = tuple(name for name in installed.participants if name in opened)
        self._on_progress = on_progress
        self._report = Report(unread=tuple(sorted({*installed.participants} - {*self._installed})))
        self._held: Counter[str] = Counter()
        self._held_at: Counter[tuple[str, str]] = Counter()
        self._unknown: dict[UUID, str] = {}
        self._total = 0
        self._mark = reading.NOTHING_PRUNED
        self._taken_back = reading.TakenBack()

    async def run(self) -> Report:
        """Everything, in order."""
        await self._choose_sources()
        self._mark = max(
            [await reading.low_water_mark(self._opened[name], name) for name in (*NEEDED, *self._installed)]
        )
        self._report.mark = self._mark if self._mark != reading.NOTHING_PRUNED else None
        self._taken_back = await reading.taken_back(self._opened[ORCHESTRATOR])
        self._total = await reading.ended_count(self._opened[ORCHESTRATOR], self._mark)
        self._on_progress(0, self._total)
        group: list[OrderFacts] = []
        async with aclosing(self._seen()) as all_seen:
            async for seen in all_seen:
                order = await self._sort(seen)
                if order is not None:
                    group.append(order)
                if len(group) == GROUP:
                    await self._judge(group)
                    group = []
        await self._judge(group)
        await self._report_unknown_sagas()
        await self._check_stock()
        await self._check_provider_entries()
        return self._report

    async def _choose_sources(self) -> None:
        """The sandbox's books where it keeps any, else what the participants say they were told."""
        kept = ((_MONEY, (CHARGES, AUTHORIZATIONS), PAYMENT), (_PARCELS, (SHIPMENTS,), SHIPPING))
        for what, books, participant in kept:
            used = SANDBOX in self._opened and await reading.has_entries(self._opened[SANDBOX], books)
            self._report.sources[what] = _BOOKS if used else f"{participant}'s ledger alone"

    async def _seen(self) -> AsyncGenerator[_Seen]:
        """All schemas side by side, saga by saga."""
        opened, mark, participants = self._opened, self._mark, (*OUR_OWN, *self._installed)
        sagas = reading.saga_stream(opened[ORCHESTRATOR], mark)
        ledgers = [reading.ledger_stream(opened[name], name, mark) for name in participants]
        reductions = reading.movement_stream(opened[INVENTORY], mark, "reduction")
        restockings = reading.movement_stream(opened[INVENTORY], mark, "restocking")
        async for saga_id in identities([sagas, *ledgers, reductions, restockings]):
            found = await sagas.take(saga_id)
            rows = tuple([row.fact for ledger in ledgers for row in await ledger.take(saga_id)])
            reduced = tuple([row.reduction for row in await reductions.take(saga_id)])
            restocked = tuple([row.reduction for row in await restockings.take(saga_id)])
            order = OrderFacts(found[0], rows, reduced, restockings=restocked) if found else None
            yield _Seen(saga_id, order, rows, bool(reduced or restocked))

    async def _sort(self, seen: _Seen) -> OrderFacts | None:
        """Count what was seen; returns the order when it is to be judged: ended, and above the mark (P7)."""
        for row in seen.ledger:
            if row.command == ReserveInventory.__name__ and row.state == HOLDING:
                self._held.update(row.quantities)
                self._held_at.update(row.taken)
        if seen.saga_id < self._mark:
            return None
        self._report.looked_at[Check.HAS_SAGA] += len(seen.ledger)
        order = seen.order
        if order is None:
            await self._remember_unknown(seen)
            return None
        self._report.sagas[order.saga.status] += 1
        if not order.saga.ended:
            self._report.note_verdicts(order, {})
            return None
        is_ours = order.saga.definition == NAME
        compared = self._installed if is_ours else (*OUR_OWN, *self._installed)
        if compared:
            at = self._places.get(order.saga.definition, {})
            self._report.compare_steps(order, compared, at)
        if order.saga.definition == ORDER_RETURN:
            self._report.looked_at[Check.READABLE] += 1
            self._report.looked_at.update(OF_RETURNED if order.saga.completed else OF_NOT_RETURNED)
            self._report.judge_return(order)
            return None
        if not is_ours:
            self._report.unaudited[order.saga.definition] += 1
            return None
        self._report.looked_at[Check.READABLE] += 1
        self._report.looked_at.update(OF_COMPLETED if order.saga.completed else OF_UNDONE)
        return order

    async def _judge(self, group: Sequence[OrderFacts]) -> None:
        order_ids = [order.saga.order_id for order in group]
        money = await self._money(order_ids)
        parcels = await self._parcels(order_ids)
        returns = await self._returns(order_ids)
        for order in group:
            order_id = str(order.saga.order_id)
            self._report.judge(
                replace(
                    order,
                    returns=returns.get(order.saga.order_id, Returns()),
                    money=None if money is None else money.get(order_id, Money()),
                    parcels=None if parcels is None else parcels.get(order_id, ()),
                )
            )
        self._on_progress(self._report.ended, self._total)

    async def _returns(self, order_ids: Sequence[UUID]) -> dict[UUID, Returns]:
        """What came back of these orders; a return may have gone on while everything else was read."""
        before = await reading.returns_of(self._opened[ORCHESTRATOR], order_ids)
        async with self._opened.later() as now:
            after = await reading.returns_of(now, order_ids)
        return {
            order_id: Returns(
                tuple(each for each in before.get(order_id, ()) if each.completed), _standing(made)
            )
            for order_id, made in after.items()
        }

    async def _money(self, order_ids: Sequence[UUID]) -> dict[str, Money] | None:
        if self._report.sources[_MONEY] != _BOOKS:
            return None
        return dict(await reading.money_of(self._opened[SANDBOX], order_ids))

    async def _parcels(self, order_ids: Sequence[UUID]) -> dict[str, tuple[str, ...]] | None:
        if self._report.sources[_PARCELS] != _BOOKS:
            return None
        return dict(await reading.parcels_of(self._opened[SANDBOX], order_ids))

    async def _remember_unknown(self, seen: _Seen) -> None:
        """What a person had taken back (`oms orphans`) is no offence once nothing is held any more."""
        holds = seen.reduced or any(row.state in EFFECTIVE for row in seen.ledger)
        if seen.saga_id in self._taken_back.sagas and not holds:
            return
        work = [f"{row.participant}: {row.step} is {row.state}" for row in seen.ledger]
        work += ["inventory: stock was moved for it"] if seen.reduced else []
        self._unknown[seen.saga_id] = "; ".join(work)
        if len(self._unknown) >= GROUP:
            await self._report_unknown_sagas()

    async def _report_unknown_sagas(self) -> None:
        """Sagas may have started after our first snapshot: look once more."""
        if self._unknown:
            async with self._opened.later() as now:
                missing = await reading.missing_sagas(now, self._unknown.keys())
            for saga_id in sorted(missing):
                message = f"there is no such saga, but {self._unknown[saga_id]}"
                self._report.add(Finding(Check.HAS_SAGA, message, saga_id))
            self._unknown.clear()

    async def _check_stock(self) -> None:
        rows = await reading.stock_rows(self._opened[INVENTORY])
        places: dict[str, dict[str, tuple[int, int, int]]] = {}
        found = await reading.place_rows(self._opened[INVENTORY])
        for sku, location in sorted(found.keys() | self._held_at.keys()):
            there = found.get((sku, location), (0, 0))
            places.setdefault(sku, {})[location] = (*there, self._held_at[sku, location])
        for sku in sorted(rows.keys() | self._held.keys()):
            on_hand, reserved, moved = rows.get(sku, (None, 0, None))
            self._report.looked_at.update(OF_STOCK)
            known = StockFact(sku, on_hand, reserved, moved, self._held[sku], places.get(sku, {}))
            for objection in stock_objections(known):
                self._report.add(Finding(objection.check, objection.message, sku=sku))

    async def _check_provider_entries(self) -> None:
        """What the sandbox did must be for an order. Ids of another form than ours are others' business.

        An order's id is drawn before its saga's: where the saga is behind the mark, so is the order.
        """
        if _BOOKS not in self._report.sources.values():
            return
        async for batch in reading.orders_served(self._opened[SANDBOX]):
            async with self._opened.later() as now:
                mark = max(self._mark, await reading.low_water_mark(now, ORCHESTRATOR))
                ours = [each for text in batch if (each := _order_id(text)) is not None and each >= mark]
                missing = await reading.missing_orders(now, ours)
            self._report.looked_at[Check.HAS_SAGA] += len(ours)
            taken_back = missing & self._taken_back.orders
            for order_id in sorted((missing - taken_back) | await self._with_an_effect(taken_back)):
                message = "the sandbox charged, authorized or shipped for an order that there is not"
                self._report.add(Finding(Check.HAS_SAGA, message, order_id=str(order_id)))

    async def _with_an_effect(self, order_ids: Collection[UUID]) -> set[UUID]:
        """Those of the orders whose money is not back, or whose parcel has left."""
        books, wanted = self._opened[SANDBOX], sorted(order_ids)
        money = await reading.money_of(books, wanted)
        parcels = await reading.parcels_of(books, wanted)
        return {
            each for each in wanted if str(each) in parcels or not _is_back(money.get(str(each), Money()))
        }


def _standing(returns: Sequence[SagaFact]) -> tuple[SagaFact, ...]:
    return tuple(each for each in returns if each.completed or not each.ended)


def _is_back(money: Money) -> bool:
    """Whether as much was given back as was taken, by both books, and nothing is set aside."""
    if any(each.left for each in money.authorizations):
        return False
    taken = sum(charge.amount for charge in money.charges)
    return taken == sum(money.refunds) == sum(charge.refunded for charge in money.charges)


def _order_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
