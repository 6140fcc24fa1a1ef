"""Those who start sagas, and what they are answered: accepted, ended, followed, undone."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Generic
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import ProblemError
from orchestrator.core.following import NotFollowed
from orchestrator.core.inputs import Actor
from orchestrator.http import headers
from orchestrator.http.admission import Admission
from orchestrator.http.answers import answer, not_found
from orchestrator.http.bodies import json_or_nothing_of
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.events import EventStream, Progress, Turns
from orchestrator.http.faces import Face, V
from orchestrator.http.fields import Reason
from orchestrator.http.openapi import Description, Responses, event_stream, header, success
from orchestrator.intake import Accepted, KeyReused, ReferenceTaken, Submission
from orchestrator.operations import NotAllowed, UnknownHere
from orchestrator.progress import Interest, TooManyWatches, Watch


class Cancellation(BaseModel):
    """Why a customer cancels."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = "cancelled by the customer"


class Reception(Generic[V]):
    """Serves those who start sagas, whatever they are to them (S24)."""

    def __init__(self, dependencies: Dependencies, face: Face[V], turns: Turns) -> None:
        """
        Args:
            turns: of the streams that read at once.
        """
        self._face = face
        self._intake = dependencies.intake
        self._operations = dependencies.operations
        self._queries = dependencies.queries
        self._listener = dependencies.listener
        self._tracing = dependencies.tracing
        self._turns = turns

    def trace(self, request: Request) -> str | None:
        """The trace context in which a saga is to run."""
        return self._tracing.current() or headers.traceparent(request.headers)

    async def submit(self, request: Request, submission: Submission, admission: Admission) -> Response:
        """Start a saga; also while the broker is down (S14).

        Args:
            admission: of the request, which may want to wait for the end.

        Raises:
            ProblemError: its idempotency key stands for another input, its reference for another one.
            NotStarted, Overloaded, StorageUnavailable
        """
        wait_s = headers.preferred_wait_s(request.headers)
        accepted = await self._intake.submit(submission)
        if isinstance(accepted, KeyReused):
            detail = f"This Idempotency-Key stands for another {self._face.what} already."
            raise ProblemError(422, "idempotency_key_reused", detail)
        if isinstance(accepted, ReferenceTaken):
            raise await self._taken(accepted)
        if isinstance(accepted, NotFollowed):
            raise not_followed(accepted)
        return await self._accepted(accepted, wait_s, admission)

    async def _taken(self, refused: ReferenceTaken) -> ProblemError:
        """What a submission is told whose owner calls another one the same (S26)."""
        what = self._face.what
        identity = await self._face.id_of(Accepted(refused.subject_id, replayed=True))
        detail = f"The {what} {identity} has this reference already. Nothing was done."
        members: dict[str, Any] = {f"{what}_id": str(identity)}
        return ProblemError(409, "reference_taken", detail, **members)

    async def found(self, identity: UUID) -> V:
        """What there is. Raises ProblemError (404) and StorageUnavailable."""
        view = await self._face.find(identity)
        if view is None:
            raise not_found(self._face.what)
        return view

    async def follow(self, request: Request, identity: UUID, admission: Admission) -> Response:
        """Its progress as it happens, from the beginning or from where the client was.

        A client that has seen the final event is told by 204 that it need not come back.
        """
        after = headers.last_event_id(request.headers)
        saga = await self._face.saga(identity)
        if saga is None:
            raise not_found(self._face.what)
        progress = Progress(self._queries.sagas, self._turns, self._face, identity, saga.saga_id, after)
        first = await progress.events()
        if progress.ended and not first:
            return Response(status_code=204)
        return EventStream(self._listener, admission, saga.subject_id, progress, first)

    async def cancel(self, request: Request, saga_id: UUID, caller: str) -> Response:
        """Undo what was done, as long as that is possible (S9). Repeating it is fine."""
        asked = await json_or_nothing_of(request, Cancellation) or Cancellation()
        try:
            done = await self._operations.cancel(saga_id, Actor(caller, asked.reason))
        except NotAllowed as refused:
            raise discreet(refused) from None
        return answer(self._face.of(done.saga), 202)

    async def _accepted(self, accepted: Accepted, wait_s: int | None, admission: Admission) -> Response:
        identity = await self._face.id_of(accepted)
        said = {"Location": f"{self._face.path}/{identity}"}
        if accepted.replayed:
            said["Idempotency-Replayed"] = "true"
        view = self._face.of(accepted.saga) if accepted.saga else await self.found(identity)
        if wait_s is not None:
            said["Preference-Applied"] = f"wait={wait_s}"
            view = await self._ended(view, identity, accepted.subject_id, wait_s, admission)
        done = accepted.replayed or (wait_s is not None and view.ended_at is not None)
        return answer(view, 200 if done else 202, said)

    async def _ended(
        self, view: V, identity: UUID, subject_id: UUID, wait_s: float, admission: Admission
    ) -> V:
        """It once it has ended, as it is after so many seconds, or as it was while it might be seen."""
        clock = asyncio.get_running_loop()
        until = clock.time() + wait_s
        try:
            with self._listener.watch(subject_id, Interest.THE_END) as watch:
                while view.ended_at is None and not self._listener.stopping:
                    view = await self.found(identity)
                    left_s = until - clock.time()
                    if view.ended_at is not None or left_s <= 0:
                        break
                    if not await _goes_on(admission, watch, left_s):
                        break
        except TooManyWatches:
            pass  # a preference is no demand
        return view


async def _goes_on(admission: Admission, watch: Watch, timeout_s: float) -> bool:
    """Wait for news; whether they may be told. What was accepted is answered all the same."""
    try:
        await admission.changed(watch, timeout_s)
    except ProblemError:
        return False
    return True


def not_followed(refused: NotFollowed) -> ProblemError:
    """What a submission is told that cannot follow the saga that it names (S28)."""
    status = 404 if refused.code == "not_found" else 409
    members: dict[str, Any] = dict(refused.details)
    return ProblemError(status, refused.code, str(refused), **members)


def discreet(refused: NotAllowed) -> NotAllowed:
    """The same for those who are no operators: what operators may do is none of their business."""
    return refused if isinstance(refused, UnknownHere) else NotAllowed(refused.code, str(refused))


# -- in the API's description -----------------------------------------------------------------------------

_TEXT: Final[Description] = {"schema": {"type": "string"}}
_ANSWER_HEADERS: Final[dict[str, Description]] = {
    "Location": {**_TEXT, "required": True},
    "Preference-Applied": _TEXT,
}


def submitted(view: type[BaseModel]) -> Responses:
    """What a submission is answered."""
    repeated = {**_ANSWER_HEADERS, "Idempotency-Replayed": {"schema": {"const": "true"}}}
    ended = "It has ended within the preferred wait, or it had been accepted under this key before"
    return success(202, view, "Accepted", _ANSWER_HEADERS) | success(200, view, ended, repeated)


SUBMISSION_HEADERS: Final = [
    header(
        "Idempotency-Key",
        "1 to 255 visible ASCII characters, bare or in quotes; a repeat gives the same answer",
        {"type": "string", "pattern": headers.KEY_PATTERN},
    ),
    header(
        "Prefer",
        f"wait=N: answer when it has ended, or after N seconds ({headers.MAX_WAIT_S} at most)",
        {"type": "string"},
    ),
]
LAST_EVENT_ID: Final = header(
    "Last-Event-ID",
    "The last event that was seen; what follows it is sent",
    {"type": "string", "pattern": headers.LAST_EVENT_ID_PATTERN},
)


def followed(what: str, view: type[BaseModel]) -> Responses:
    """What whoever follows is answered."""
    each = f"Events `{what}.<label>`, each with what was there then, to the final one"
    seen = {"description": "The final event has been seen: there is nothing more to come"}
    content = event_stream(f"^{what}[.]", headers.LAST_EVENT_ID_PATTERN, view)
    return {200: {"description": each, "content": content}, 204: seen}
