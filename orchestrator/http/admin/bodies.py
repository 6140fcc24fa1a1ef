"""Messages and their bodies: masked for everybody; whole for the admin, with a reason, audited."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.inputs import Actor
from orchestrator.disclosure import Disclosures
from orchestrator.http.access import Access, Permission
from orchestrator.http.admin.requests import Reasoned
from orchestrator.http.admin.routes import A_BODY, ALL_OF_ONE, add
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.masking import readable
from orchestrator.queries.messages import MessageQueries
from orchestrator.queries.views import FullBody, SagaMessageList

Wanted = Annotated[Reasoned, Query()]
"""Why somebody wants to see what is sensitive."""


class Bodies:
    """Bodies of dead letters and of sagas' messages."""

    def __init__(self, disclosures: Disclosures, messages: MessageQueries) -> None:
        self._disclosures = disclosures
        self._messages = messages

    async def of_dead_letter(self, dead_letter_id: UUID, actor: Actor) -> FullBody:
        """A dead letter's headers and body as they are. Raises NotFound and StorageUnavailable."""
        dead = await self._disclosures.dead_letter(dead_letter_id, actor)
        form, body = readable(dead.body)
        return FullBody(
            type=dead.type,
            message_id=dead.message_id,
            headers=dict(dead.headers),
            body_form=form,
            body=body,
            body_bytes=len(dead.body),
            body_truncated=dead.body_truncated,
        )

    async def of_message(self, saga_id: UUID, message_id: UUID, actor: Actor) -> FullBody:
        """The body of a command or event of a saga as it is.

        Raises:
            ProblemError: 404 where the saga has sent no such message.
            StorageUnavailable: it cannot be read, or its disclosure not be noted.
        """
        found = [each for each in await self._messages.of_saga(saga_id) if each.message_id == message_id]
        if not found:
            raise not_found("message of this saga")
        await self._disclosures.message(saga_id, message_id, actor)
        [message] = found
        return FullBody(
            type=message.type,
            message_id=str(message_id),
            headers={},
            body_form="json",
            body=message.body,
            body_bytes=len(message.encoded),
            body_truncated=False,
        )


class BodyEndpoints:
    """`/admin/dead-letters/{id}/body` and the messages of a saga."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._access: Access = dependencies.access
        self._messages = dependencies.queries.messages
        self._bodies = Bodies(dependencies.disclosures, dependencies.queries.messages)

    async def of_dead_letter(self, request: Request, wanted: Wanted) -> Response:
        """Headers and body of a dead letter, nothing masked. Leaves an entry in the audit log."""
        actor = await self._actor(request, wanted)
        dead_letter_id = id_in_path(request, "dead_letter_id", "dead letter")
        return answer(await self._bodies.of_dead_letter(dead_letter_id, actor))

    async def of_saga(self, request: Request) -> Response:
        """What a saga has sent and heard, oldest first, with masked bodies; copies sent again left out."""
        saga_id = id_in_path(request, "saga_id", "saga")
        found = await self._messages.shown(saga_id)
        if found is None:
            raise not_found("saga")
        return answer(found)

    async def of_message(self, request: Request, wanted: Wanted) -> Response:
        """The body of one of a saga's messages, nothing masked. Leaves an entry in the audit log."""
        actor = await self._actor(request, wanted)
        saga_id = id_in_path(request, "saga_id", "saga")
        message_id = id_in_path(request, "message_id", "message of this saga")
        return answer(await self._bodies.of_message(saga_id, message_id, actor))

    async def _actor(self, request: Request, wanted: Reasoned) -> Actor:
        principal = await self._access.admit(request, Permission.DISCLOSE)
        return Actor(principal.name, wanted.reason)


def add_body_routes(router: APIRouter, dependencies: Dependencies) -> None:
    """Every route that shows messages of sagas, and those that show bodies whole."""
    endpoints, put = BodyEndpoints(dependencies), partial(add, router)
    messages, may_disclose = "/sagas/{saga_id}/messages", dependencies.access.guard(Permission.DISCLOSE)
    put(ALL_OF_ONE, messages, endpoints.of_saga, SagaMessageList, "List the messages of a saga")
    for path, endpoint in (
        ("/dead-letters/{dead_letter_id}/body", endpoints.of_dead_letter),
        (f"{messages}/{{message_id}}/body", endpoints.of_message),
    ):
        put(A_BODY, path, endpoint, FullBody, "See a body in full", dependencies=[Depends(may_disclose)])
