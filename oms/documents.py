"""Writes everything that is generated from the code and committed: `python -m oms.documents`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from contracts.documents import write_documents
from oms.observing.metrics import write_page
from orchestrator.core.definition import StepPolicy
from orchestrator.diagrams import write_diagrams
from orchestrator.sagas.order_fulfillment import order_fulfillment
from orchestrator.sagas.order_return import order_return

ROOT: Final = Path(__file__).resolve().parent.parent
CONTRACTS: Final = Path("contracts/generated")
DIAGRAMS: Final = Path("docs/generated")


def write_all(root: Path) -> list[Path]:
    """Write contracts, diagrams and the list of metrics below a root folder; returns the paths written."""
    definitions = [order_fulfillment(StepPolicy()), order_return(StepPolicy())]
    return [
        *write_documents(root / CONTRACTS),
        *write_diagrams(root / DIAGRAMS, definitions),
        write_page(root / DIAGRAMS),
    ]


if __name__ == "__main__":
    for path in write_all(ROOT):
        print(path.relative_to(ROOT))  # noqa: T201
