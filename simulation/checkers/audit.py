"""What an outside auditor must find at the end, from the participants and the providers alone."""

from __future__ import annotations

from uuid import UUID

from orchestrator.core.state import Forward, Saga, Status
from orchestrator.sagas.order_fulfillment import OrderStatus
from participants.fence import State
from simulation.checkers.inspection import Checker, Objections
from simulation.checkers.knowledge import (
    AUTHORIZE,
    CAPTURE,
    CHARGE,
    COMMIT,
    RESERVE,
    SHIP,
    is_return,
    lines_of,
    refused_of,
    refused_worth,
    shipped_of,
)


class OutsideAudit(Checker):
    """Completed means reserved, charged, shipped, reduced once each; otherwise nothing is left anywhere."""

    rule = "outside audit"

    def at_the_end(self) -> Objections:
        """See `Checker.at_the_end`."""
        for saga in self.known.sagas.values():
            if is_return(saga):
                continue  # see `checkers.returns`
            if saga.status is Status.COMPLETED:
                yield from self._completed(saga)
            else:
                yield from self._undone(saga)
        yield from self._strangers()
        for sku, level in self.known.stock.items():
            moved = sum(each.quantity for each in self.known.movements.values() if each.sku == sku)
            if moved != level.on_hand:
                yield sku, f"{level.on_hand} on hand, its movements add up to {moved}"
            if self.known.held[sku] != level.reserved:
                yield sku, f"{level.reserved} reserved, the ledger holds {self.known.held[sku]}"

    def _completed(self, saga: Saga) -> Objections:
        about, order_id = str(saga.saga_id), str(saga.subject_id)
        refused = refused_of(saga)
        if saga.label != (OrderStatus.PARTIALLY_FULFILLED if refused else OrderStatus.COMPLETED):
            yield about, f"completed, but shown as {saga.label}"
        due = saga.input.total - refused_worth(saga) - self.known.returned(saga.subject_id)
        taken = saga.input.total - (refused_worth(saga) if self.known.captures(saga) else 0)
        paid = self.known.money_kept(order_id) == due
        paid = paid and len(self.known.charges[order_id]) == (1 if taken else 0)
        if not paid and self.known.state(CAPTURE, saga.saga_id) is not State.SETTLED:
            yield about, f"completed, but {self.known.money_kept(order_id)} of {due} are kept"
        branches = [each.forward for each in saga.steps if each.name.startswith("ship[")]
        parcels = branches.count(Forward.SUCCEEDED) if branches else 1
        if self.known.shipped[order_id] != parcels:
            yield about, f"completed, but shipped {self.known.shipped[order_id]} times"
        reserved = self.known.row(RESERVE, saga.saga_id)
        ordered = {line.sku: line.quantity for line in saga.input.lines}
        if reserved is None or reserved.state is not State.CONSUMED or lines_of(reserved) != ordered:
            yield about, "completed, but its reservation is not consumed as ordered"
        if (
            self._reduced(saga.saga_id) != shipped_of(saga)
            and (*COMMIT, saga.saga_id) not in self.known.pruned
        ):
            yield about, f"completed, but stock was reduced by {self._reduced(saga.saga_id)}"

    def _undone(self, saga: Saga) -> Objections:
        about, order_id = str(saga.saga_id), str(saga.subject_id)
        if self.known.money_kept(order_id) and not self.known.could_not_know(saga):
            yield about, f"{saga.label}, but {self.known.money_kept(order_id)} are kept"
        if self.known.shipped[order_id]:
            yield about, f"{saga.label}, but shipped"
        if self._reduced(saga.saga_id):
            yield about, f"{saga.label}, but stock was reduced"
        for work in (RESERVE, CHARGE, AUTHORIZE, SHIP, CAPTURE, COMMIT):
            state = self.known.state(work, saga.saga_id)
            if state in (State.DONE, State.INTENT, State.UNDOING, State.REVERSING, State.CONSUMED):
                yield about, f"{saga.label}, but {work[1]} is {state}"

    def _reduced(self, saga_id: UUID) -> dict[str, int]:
        return {each.sku: -each.quantity for each in self.known.movements.values() if each.saga_id == saga_id}

    def _strangers(self) -> Objections:
        for participant, command, saga_id in self.known.ledger:
            if saga_id not in self.known.sagas:
                yield str(saga_id), f"{participant} has a row for {command} of a saga that never was"


ALL = (OutsideAudit,)
