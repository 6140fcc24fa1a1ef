"""Batches with a part too many, which nobody can read: its neighbours must not suffer (M5)."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from messaging.batches import MAX_BYTES, MAX_PARTS, Parcel
from messaging.transport import Message

ROTTEN = 0.3
"""Of the batches in worlds with garbage, how many have such a part."""


class RottenParts:
    """Puts a part that says nothing into a batch on its way, now and then, in any place."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def got_into(self, parcel: Parcel) -> Message:
        """What the broker gets of a parcel."""
        if not parcel.is_batch or self._rng.random() > ROTTEN:
            return parcel.message
        batch = json.loads(parcel.message.body)
        batch["messages"].insert(self._rng.randrange(batch["count"] + 1), {"type": "nothing"})
        body = json.dumps({**batch, "count": batch["count"] + 1}).encode()
        if batch["count"] == MAX_PARTS or len(body) > MAX_BYTES:
            return parcel.message  # a larger one could not be taken apart at all, neighbours included
        return replace(parcel.message, body=body)
