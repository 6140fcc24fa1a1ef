"""Where somebody is in the feed of all events, and the cursor that says so to whoever holds it (S29)."""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from orchestrator.queries.paging import InvalidCursor

ALL: Final = 0xFFFF
"""A position behind every event of its entry."""

CURSOR_PATTERN: Final = "^[A-Za-z0-9_-]{42}([A-Za-z0-9_-]{10})?$"

_FORM: Final = struct.Struct(">BQ16sIH")
_FORM_WITH_PRUNED: Final = struct.Struct(">BQ16sIHQ")
_KIND: Final = 1
"""A cursor that does not say what had been pruned, as the first release has handed them out."""
_KIND_WITH_PRUNED: Final = 2
_MAX_TRANSACTION: Final = 2**63 - 1
_MAX_VERSION: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Behind an event: those of one transaction stand together, those of one saga in its own order.

    Attributes:
        transaction: that wrote the entry; 0 for one from before they were told apart.
        version: of the saga, once it had accepted what the entry says.
        part: how many of the entry's events are before this.
        pruned_sagas: how many had been pruned when whoever is here looked: while it is so many, nothing
            behind this is missing that was not missing then. None: nobody says.
    """

    transaction: int
    saga_id: UUID
    version: int
    part: int = ALL
    pruned_sagas: int | None = field(default=None, compare=False)

    @property
    def cursor(self) -> str:
        """The position as text, opaque to whoever holds it."""
        place = (self.transaction, self.saga_id.bytes, self.version, self.part)
        if self.pruned_sagas is None:
            packed = _FORM.pack(_KIND, *place)
        else:
            packed = _FORM_WITH_PRUNED.pack(_KIND_WITH_PRUNED, *place, self.pruned_sagas)
        return urlsafe_b64encode(packed).decode().rstrip("=")


BEGINNING: Final = Position(0, UUID(int=0), 0, 0)
"""Before whatever there is, however much has been pruned."""


def position_of(cursor: str) -> Position:
    """The position that a cursor names. Raises InvalidCursor for what no feed has handed out."""
    try:
        packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        form = _FORM if packed[:1] == bytes([_KIND]) else _FORM_WITH_PRUNED
        _, transaction, saga_id, version, part, *pruned = form.unpack(packed)
    except (NotBase64, ValueError, struct.error):
        raise InvalidCursor(cursor) from None
    position = Position(transaction, UUID(bytes=saga_id), version, part, *pruned)
    if position.cursor != cursor or transaction > _MAX_TRANSACTION or version > _MAX_VERSION:
        raise InvalidCursor(cursor)
    return position
