"""Why somebody does something: text for the audit log (D6)."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from contracts.limits import PRINTABLE

Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=PRINTABLE)
]
