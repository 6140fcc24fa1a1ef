"""The base of documents and messages, under a name of our own for rooms that import contracts alone."""

from __future__ import annotations

from pydantic import BaseModel as Model
from pydantic import ValidationError

__all__ = ["Model", "ValidationError"]
