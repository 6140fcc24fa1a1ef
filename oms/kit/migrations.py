"""For the revisions of a participant's own tables: Alembic's operations, called as revisions call them."""

from __future__ import annotations

from alembic import op

__all__ = ["op"]
