"""Everything that an audit checks, and what it says of what is not as it must be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Check(StrEnum):
    """Everything that is checked; the value is what a report calls it."""

    RESERVED_ONCE = "reserved_once"
    CHARGED_ONCE = "charged_once"
    CAPTURED_AS_AUTHORIZED = "captured_as_authorized"
    UNSHIPPED_GIVEN_BACK = "unshipped_given_back"
    SHIPPED_ONCE = "shipped_once"
    REDUCED_ONCE = "reduced_once"
    NOTHING_RESERVED = "nothing_reserved"
    MONEY_BACK = "money_back"
    NOTHING_AUTHORIZED = "nothing_authorized"
    NOTHING_SHIPPED = "nothing_shipped"
    STOCK_UNTOUCHED = "stock_untouched"
    RETURNED_ONCE = "returned_once"
    REFUNDED_IN_PART = "refunded_in_part"
    TAKEN_IN_ONCE = "taken_in_once"
    NOTHING_RETURNED = "nothing_returned"
    READABLE = "readable"
    STEPS_AGREE = "steps_agree"
    HAS_SAGA = "has_saga"
    STOCK_ADDS_UP = "stock_adds_up"
    RESERVED_AGREES = "reserved_agrees"


OF_COMPLETED: Final = (
    Check.RESERVED_ONCE,
    Check.CHARGED_ONCE,
    Check.CAPTURED_AS_AUTHORIZED,
    Check.UNSHIPPED_GIVEN_BACK,
    Check.SHIPPED_ONCE,
    Check.REDUCED_ONCE,
    Check.RETURNED_ONCE,
)
OF_RETURNED: Final = (Check.REFUNDED_IN_PART, Check.TAKEN_IN_ONCE)
OF_NOT_RETURNED: Final = (Check.NOTHING_RETURNED,)
OF_UNDONE: Final = (
    Check.NOTHING_RESERVED,
    Check.MONEY_BACK,
    Check.NOTHING_AUTHORIZED,
    Check.NOTHING_SHIPPED,
    Check.STOCK_UNTOUCHED,
)
OF_STOCK: Final = (Check.STOCK_ADDS_UP, Check.RESERVED_AGREES)

MEANING: Final[dict[Check, str]] = {
    Check.RESERVED_ONCE: "completed: stock was reserved once, as ordered",
    Check.CHARGED_ONCE: "completed: charged or captured once, what is due; given back what its returns say",
    Check.CAPTURED_AS_AUTHORIZED: "completed: what was authorized is captured, none of it is left",
    Check.UNSHIPPED_GIVEN_BACK: "completed: refunded in part what could not be shipped of it, once",
    Check.SHIPPED_ONCE: "completed: each of its parcels was shipped once",
    Check.REDUCED_ONCE: "completed: stock was reduced once, as shipped",
    Check.NOTHING_RESERVED: "not completed: no reservation is held",
    Check.MONEY_BACK: "not completed: charges minus refunds are zero",
    Check.NOTHING_AUTHORIZED: "not completed: nothing is authorized any more",
    Check.NOTHING_SHIPPED: "not completed: nothing was shipped",
    Check.STOCK_UNTOUCHED: "not completed: stock is untouched",
    Check.RETURNED_ONCE: "completed: no more came back than was shipped",
    Check.REFUNDED_IN_PART: "returned: refunded once, what it is worth",
    Check.TAKEN_IN_ONCE: "returned: restocked or written off once, as returned",
    Check.NOTHING_RETURNED: "not returned: nothing was refunded or taken in",
    Check.READABLE: "what is stored of an ended order can be read",
    Check.STEPS_AGREE: "every step stands at its participant as its saga says",
    Check.HAS_SAGA: "no work of a participant or provider without an order",
    Check.STOCK_ADDS_UP: "initial stock + adjustments - reduced = on hand",
    Check.RESERVED_AGREES: "reserved = what inventory's ledger holds",
}


@dataclass(frozen=True, slots=True)
class Objection:
    """One thing that is not as it must be."""

    check: Check
    participant: str
    message: str
