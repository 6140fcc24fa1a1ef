"""One message of a saga: masked for everybody, in full for the admin, who says why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.inputs import Actor
from orchestrator.http.access import Permission
from orchestrator.http.admin.bodies import Bodies
from orchestrator.http.admin.requests import Reasoned
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.desk import Desk, Tried
from orchestrator.http.console.forms import checked, chosen
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.views import FullBody

_MESSAGE: Final = "message of this saga"


class MessagePages:
    """What operators see of a saga's messages, each by itself."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._messages = dependencies.queries.messages
        self._bodies = Bodies(dependencies.disclosures, dependencies.queries.messages)

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        one = "/console/sagas/{saga_id}/messages/{message_id}"
        yield self._desk.page(one, self._show)
        yield self._desk.page(f"{one}/body", self._back)
        yield from self._desk.action(f"{one}/body", self._disclose, self._again, Permission.DISCLOSE)

    async def _show(self, request: Request, session: Session) -> Response:
        return await self._shown(*_ids(request), session)

    async def _back(self, request: Request, _: Session) -> Response:
        saga_id, message_id = _ids(request)
        return redirect(f"/console/sagas/{saga_id}/messages/{message_id}")

    async def _disclose(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        saga_id, message_id = _ids(request)
        asked = checked(Reasoned, chosen(form, Reasoned.model_fields))
        actor = Actor(session.principal.name, asked.reason)
        full = await self._bodies.of_message(saga_id, message_id, actor)
        return await self._shown(saga_id, message_id, session, full=full)

    async def _again(self, request: Request, session: Session, tried: Tried) -> Response:
        return await self._shown(*_ids(request), session, tried=tried)

    async def _shown(
        self,
        saga_id: UUID,
        message_id: UUID,
        session: Session,
        *,
        full: FullBody | None = None,
        tried: Tried | None = None,
    ) -> Response:
        found = await self._messages.shown(saga_id)
        for message in found.items if found is not None else ():
            if message.message_id == message_id:
                values = {"saga_id": saga_id, "message": message, "full": full, "tried": tried}
                status = tried.status if tried else 200
                return self._desk.show("message.html", session, status=status, **values)
        raise not_found(_MESSAGE)


def _ids(request: Request) -> tuple[UUID, UUID]:
    return id_in_path(request, "saga_id", "saga"), id_in_path(request, "message_id", _MESSAGE)
