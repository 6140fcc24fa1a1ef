"""Lists by pages: newest first, keyset cursors that are opaque to whoever holds one."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import CompoundSelect, Row, Select, select, union_all

from orchestrator.queries.masking import Masking, masked
from orchestrator.queries.reader import Reader

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

KEY: Final = "key"
"""The column by which a list is ordered: a time-ordered id, selected under this name."""

V = TypeVar("V", bound=BaseModel)
S = TypeVar("S", bound=BaseModel)


class Listing(BaseModel, Generic[V]):
    """One page of a list; ``next_cursor`` is null on the last one."""

    model_config = ConfigDict(frozen=True)

    items: tuple[V, ...]
    next_cursor: str | None = Field(None, description="Give it as `cursor` for the next page")


class InvalidCursor(Exception):
    """A cursor that no page of this list has handed out."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted.

    Raises:
        InvalidCursor: when ``cursor`` is asked for what lies behind it.
    """

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    def before(self, kind: str) -> UUID | None:
        """The key behind which this page begins, for lists of this ``kind``; None for the first page."""
        return None if self.cursor is None else _key_of(kind, self.cursor)


def newest(branches: Sequence[Select[Any]], page: Page, kind: str) -> Select[Any] | CompoundSelect[Any]:
    """The newest rows of several selections that share no row, each read from its own index.

    Args:
        branches: selections with a column `KEY`; more than one so that an "or" stays a bounded read of each.
    """
    before, wanted = page.before(kind), page.limit + 1
    bounded = [_bounded(branch, before, wanted) for branch in branches]
    if len(bounded) == 1:
        return bounded[0]
    merged = union_all(*(select(branch.subquery()) for branch in bounded))
    return merged.order_by(merged.selected_columns[KEY].desc()).limit(wanted)


async def read_page(
    reader: Reader,
    branches: Sequence[Select[Any]],
    page: Page,
    kind: str,
    view: Callable[[Row[Any]], V],
) -> tuple[tuple[V, ...], str | None]:
    """The items of one page, and the cursor of the next. Raises InvalidCursor and StorageUnavailable.

    Args:
        view: never fails for one row: that would take all others from the list (S25, `shown`).
    """
    rows = await reader.rows(newest(branches, page, kind)) if branches else ()
    items = tuple(view(row) for row in rows[: page.limit])
    following = _cursor(kind, getattr(rows[page.limit - 1], KEY)) if len(rows) > page.limit else None
    return items, following


def shown(
    reader: Reader, model: type[S], view: Callable[[Row[Any]], S], masking: Masking = masked
) -> Callable[[Row[Any]], S]:
    """`view`, which shows a row as it is stored where that is not what it should be (S25)."""

    def of(row: Row[Any]) -> S:
        try:
            return view(row)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            stored = masking(row._asdict()) | {"body": None}
            reader.note_unreadable(model.__name__, getattr(row, KEY, row[0]), type(error).__name__)
            return model.model_construct(**{name: stored.get(name) for name in model.model_fields})

    return of


def _bounded(branch: Select[Any], before: UUID | None, wanted: int) -> Select[Any]:
    key = branch.selected_columns[KEY]
    if before is not None:
        branch = branch.where(key < before)
    return branch.order_by(key.desc()).limit(wanted)


def numbered(kind: str, number: int) -> str:
    """The cursor of what lies behind a number, in lists of this ``kind`` that are ordered by numbers."""
    return _cursor(kind, UUID(int=number))


def _cursor(kind: str, key: UUID) -> str:
    return urlsafe_b64encode(kind.encode() + key.bytes).decode().rstrip("=")


def _key_of(kind: str, cursor: str) -> UUID:
    try:
        decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key = UUID(bytes=decoded.removeprefix(kind.encode()))
    except (NotBase64, ValueError):
        raise InvalidCursor(cursor) from None
    if _cursor(kind, key) != cursor:
        raise InvalidCursor(cursor)
    return key
