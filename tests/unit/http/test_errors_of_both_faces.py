"""An error has the same status for programs and on the console's pages; only the sentences differ."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from contracts.problems import ProblemError
from messaging.unit_of_work import StorageUnavailable
from orchestrator.codec import Unreadable
from orchestrator.http.console.desk import said
from orchestrator.http.problems import HANDLERS
from orchestrator.jobs.operations import CountChanged
from orchestrator.operations import NotAllowed, NotFound, StaleVersion
from orchestrator.queries.paging import InvalidCursor

ERRORS = (
    ProblemError(428, "precondition_required", "A version is missing."),
    StaleVersion(4),
    CountChanged(7),
    NotAllowed("too_late", "the parcel has left"),
    Unreadable("its input cannot be read"),
    NotFound(),
    InvalidCursor(),
    StorageUnavailable("the database is away"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_has_one_status_whoever_is_told(error: Exception) -> None:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    answered = await HANDLERS[type(error)](request, error)
    assert answered.status_code == said(error)[0]
