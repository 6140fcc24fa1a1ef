"""Fields that several requests have."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

LINES: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+$"
"""Text of one line or several."""

_LINES: Final = re.compile(LINES)


def _said(text: str) -> str:
    if not _LINES.fullmatch(text):
        raise PydanticCustomError(
            "control_characters",
            "String should have no control characters; line breaks and tabs are the ones that it may have",
        )
    if not (said := text.replace("\r\n", "\n").replace("\r", "\n").strip()):
        raise PydanticCustomError("string_too_short", "String should hold more than blanks")
    return said


Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500),
    AfterValidator(_said),
    Field(json_schema_extra={"pattern": LINES}),
]
"""Why somebody does something: text for the audit log (D6), checked as it came, kept without its margins.

It may have line breaks, which are kept as ``\\n``, and whatever people write with, pictures included.
"""

Cursor = Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9_-]{23}$"})]
"""As the page before gave it. A malformed one is a matter of the list (400), not of this field."""
