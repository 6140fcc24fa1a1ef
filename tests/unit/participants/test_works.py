"""What the contracts say of each kind of work is what its participant does."""

from __future__ import annotations

from contracts.routing import INVENTORY, PAYMENT, SHIPPING
from contracts.works import WORKS, KindOfWork
from participants.inventory.handlers import COMMIT, RESERVE
from participants.payment.handlers import CHARGE
from participants.shipping.handlers import SHIP


def test_the_kinds_of_work_are_those_of_the_participants() -> None:
    done = {INVENTORY: (RESERVE, COMMIT), PAYMENT: (CHARGE,), SHIPPING: (SHIP,)}
    assert {
        work.command: KindOfWork(name, work.success, work.rejection, work.compensation, work.undone)
        for name, works in done.items()
        for work in works
    } == WORKS
