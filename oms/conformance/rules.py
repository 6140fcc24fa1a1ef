"""The rules that are judged: what each demands, and where a person looks when it is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as people read it: what it demands, and what to look at where it is not kept."""

    says: str
    look_at: str


WIRE: Final = "wire"
LOAD: Final = "load"

RULES: Final[dict[str, Rule]] = {
    WIRE: Rule(
        "an answer goes to oms.events with its routing key, the saga as correlation id, an event-id, "
        "the command's trace, and the command's saga_id, order_id, step and direction in its body",
        "where the answer's properties, headers and body are put together",
    ),
    "P1": Rule(
        "the first command of a piece of work (saga, step) is done and answered",
        "the handler of the command, and what its ledger is keyed by: saga and step",
    ),
    "P2": Rule(
        "the same command again gets the stored answer: same event-id, new message id; "
        "another payload is a permanent failure",
        "the ledger: the row is looked up first, its stored answer is sent again, its payload compared",
    ),
    "P3": Rule(
        "a compensation of an effect undoes it once and answers effect: undone, however often it comes",
        "the compensation's handler: it decides by the ledger row and stores its answer there",
    ),
    "P4": Rule(
        "a compensation of nothing leaves a tombstone and answers effect: nothing",
        "the compensation's handler where there is no row, or a rejected one; the row is claimed first",
    ),
    "P5": Rule(
        "a command after its compensation has no effect and is answered with StepRefused",
        "the handler of the command where the row is a tombstone or compensated",
    ),
    "P6": Rule(
        "a key has one effect and one answer; what is not an answer says nothing about the effect",
        "where the provider enters the key: under a unique constraint, with the effect or before it",
    ),
    "P7": Rule(
        "behind the low-water mark a command without a row fails for good; a mark never goes back",
        "the handler of AdvanceLowWaterMark, and the check of the saga id where there is no row",
    ),
    "P8": Rule(
        "a business rejection is an outcome event with a code, never a failure",
        "where the handler says no: it must answer, not raise",
    ),
    "P10": Rule(
        "a void closes a key that had no effect, and tells the answer of one that had",
        "where the provider closes keys: nothing may ever happen under a closed one",
    ),
    "S2": Rule(
        "a command is acknowledged after its answer is committed, never before",
        "the acknowledgement: no automatic one, and none before the commit",
    ),
    "S13": Rule(
        "unknown fields are ignored; an unknown schema version goes to the dead letters",
        "where commands are decoded",
    ),
    "S16": Rule(
        "what cannot be understood goes to the dead letters once, and blocks nothing",
        "the error handling of the consumer: no requeueing, no crash, no silent acknowledgement",
    ),
    "D1": Rule(
        "a dead letter has its bytes, and its reason in error-type, error-message and error-permanent",
        "where failed messages are sent to the dead-letter queue; rejecting them at the broker says nothing",
    ),
    "M1": Rule(
        "every message that leaves has a message id of its own, and different answers different event-ids",
        "where message ids and event-ids are made",
    ),
    LOAD: Rule(
        "every command of a burst is answered, and unacknowledged ones stay within the prefetch",
        "the prefetch of the consumer's channel, and what becomes of commands that wait",
    ),
}
"""By its name, as in docs/rules.md; `wire` and `load` are of the protocol as a whole."""
