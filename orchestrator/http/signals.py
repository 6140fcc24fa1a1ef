"""Bodies of signals, checked at the edge by the model that the wait names (S23)."""

from __future__ import annotations

import json
from typing import Any, Final

import structlog
from pydantic import BaseModel, ValidationError

from contracts.problems import ProblemError, invalid
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.state import Saga

log = structlog.get_logger(__name__)

MAX_SIGNAL: Final = 20_000
"""Characters of a signal's body as JSON: several of them fit into what one saga may remember."""


def signal_model(definition: SagaDefinition, name: str) -> type[BaseModel]:
    """What a saga of this definition may be told under this name. Raises ProblemError (404)."""
    wait = definition.waits.get(name)
    if wait is not None and wait.signal is not None:
        return wait.signal
    known = sorted(each.name for each in definition.waits.values() if each.signal is not None)
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    raise ProblemError(404, "unknown_signal", f"This saga takes no signal of that name: {takes}.")


def signal_body(model: type[BaseModel], body: bytes) -> dict[str, Any]:
    """A signal's body as plain values; unknown fields are wrong unless the model says otherwise.

    Raises:
        ProblemError: 400 when it is no JSON, 413 when it is too long, 422 naming what is wrong,
            500 when the model itself failed.
    """
    try:
        checked = model.model_validate_json(body, extra=None if "extra" in model.model_config else "forbid")
        text = checked.model_dump_json()
        plain: dict[str, Any] = json.loads(text)
    except ValidationError as error:
        raise invalid(error) from None
    except Exception as error:
        log.error("a signal could not be checked", signal=model.__name__, exc_info=error)
        raise definition_failed(f"what checks {model.__name__} failed on it") from None
    if len(text) > MAX_SIGNAL:
        detail = f"A signal may have {MAX_SIGNAL:,} characters as JSON; this one has {len(text):,}."
        raise ProblemError(413, "signal_too_large", detail)
    return plain


def definition_failed(what: str) -> ProblemError:
    """500: a definition's own code failed on what was sent; trying again is pointless (S25)."""
    detail = (
        f"The saga's definition has a fault: {what}. Nothing was stored; sending it again changes nothing."
    )
    return ProblemError(500, "definition_failed", detail)


def definition_of(saga: Saga, found: SagaDefinition | None) -> SagaDefinition:
    """The definition that a saga runs. Raises ProblemError (503) where it is not known here (S13)."""
    if found is not None:
        return found
    detail = f"This process does not know {saga.definition} version {saga.definition_version}."
    raise ProblemError(503, "unknown_version", detail, headers={"Retry-After": "1"})
