"""Fields that several requests have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from contracts.limits import PRINTABLE


def _without_margins(text: str) -> str:
    if not (said := text.strip()):
        raise PydanticCustomError("string_too_short", "String should hold more than blanks")
    return said


Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500, pattern=PRINTABLE),
    AfterValidator(_without_margins),
]
"""Why somebody does something: text for the audit log (D6), checked as it came, kept without its margins."""

Cursor = Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9_-]{23}$"})]
"""As the page before gave it. A malformed one is a matter of the list (400), not of this field."""
