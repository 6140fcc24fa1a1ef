"""What participants have really done and undone, told from what they commit to their ledgers.

For participants whose effects are in their own database, ledger and effect are one commit (P1, P3).
"""

from __future__ import annotations

from collections.abc import Iterator

from contracts.envelope import Direction
from participants.fence import State
from participants.ledger import LedgerRow
from simulation.facts import Committed, Effected, Reversed
from simulation.storage.participants import LEDGER


def effects_in(fact: Committed) -> Iterator[Effected | Reversed]:
    """The effects of a commit."""
    for change in fact.of(LEDGER):
        row: LedgerRow = change.after
        before, after = stands(change.before), stands(row)
        if after and not before:
            yield Effected(fact.service, row.saga_id, row.step)
        elif before and not after:
            yield Reversed(fact.service, row.saga_id, row.step)


def stands(row: LedgerRow | None) -> bool:
    """Whether the effect of a piece of work is there: by its participant, or by a person's hand (S19)."""
    if row is None:
        return False
    if row.state is State.SETTLED:
        said = (row.verdict or {}).get("said", {})
        return bool(said.get("direction") == Direction.FORWARD)
    return row.state in (State.DONE, State.CONSUMED, State.REVERSING)
