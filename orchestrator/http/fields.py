"""Fields that several requests have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.limits import PRINTABLE

Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=PRINTABLE)
]
"""Why somebody does something: text for the audit log (D6)."""

Cursor = Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9_-]{23}$"})]
"""As the page before gave it. A malformed one is a matter of the list (400), not of this field."""
