"""Writes the contracts as documents for other languages: JSON Schemas and AsyncAPI.

The same contracts always give the same bytes, so the documents are committed and a test finds drift.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contracts.asyncapi import asyncapi
from contracts.envelope import SCHEMA_VERSION
from contracts.orders import Order
from contracts.schemas import schema_of
from contracts.traffic import OURS, Traffic


def write_documents(folder: Path, traffic: Traffic = OURS) -> list[Path]:
    """Write every document below a folder, which is made where it is missing; returns the paths written."""
    written = []
    for name, document in documents(traffic):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=2, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8")
        written.append(path)
    return written


def documents(traffic: Traffic = OURS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every document with its path inside the folder."""
    yield "asyncapi.json", asyncapi(traffic)
    yield "order.schema.json", schema_of(Order, _identity("order"))
    for kind, models in (("commands", traffic.commands.values()), ("events", traffic.events)):
        for model in models:
            name = model.__name__
            yield f"{kind}/{name}.schema.json", schema_of(model, _identity(name))


def _identity(name: str) -> str:
    return f"urn:oms:{name}:{SCHEMA_VERSION}"
