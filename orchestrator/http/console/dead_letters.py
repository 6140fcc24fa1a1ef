"""Dead letters: groups, the messages of a group, one with headers and body, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from messaging.retries import ERROR_STACK
from orchestrator.core.inputs import Actor
from orchestrator.core.state import Status
from orchestrator.dead_letters.selection import STILL_OPEN, DeadLetterFilter
from orchestrator.http.access import Permission
from orchestrator.http.admin.bodies import Bodies, Disclosure
from orchestrator.http.admin.requests import Action, DeadLetterFilters, DeadLetterListQuery, DeadLetterMarks
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.desk import Desk, Tried, filled_in, following, said
from orchestrator.http.console.forms import checked, chosen, query_of
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.views import DeadLetterGroup, FullBody
from orchestrator.storage import DeadLetterStatus

DONE: Final[Mapping[str, str]] = {
    "replay": "It has been sent once more. It is resolved when its work is done.",
    "discard": "It is closed; nothing was sent.",
}
"""What is said after an action."""


class DeadLetterPages:
    """What operators see and do about dead letters."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._operations = dependencies.dead_letters
        self._dead_letters = dependencies.queries.dead_letters
        self._bodies = Bodies(dependencies.disclosures, dependencies.queries.messages)

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        one = "/console/dead-letters/{dead_letter_id}"
        yield self._desk.page("/console/dead-letters", self._groups)
        yield self._desk.page("/console/dead-letters/messages", self._list)
        yield self._desk.page(one, self._show)
        yield self._desk.action(f"{one}/dry-run", self._dry_run)
        yield self._desk.action(f"{one}/replay", self._replay)
        yield self._desk.action(f"{one}/discard", self._discard)
        yield self._desk.action(f"{one}/body", self._disclose, Permission.DISCLOSE)
        for answered in ("dry-run", "replay", "discard", "body"):
            yield self._desk.page(f"{one}/{answered}", self._back)

    async def _groups(self, request: Request, session: Session) -> Response:
        wanted = query_of(request, DeadLetterFilters)
        groups = (await self._dead_letters.groups(wanted.wanted)).items
        return self._desk.show(
            "dead_letter_groups.html",
            session,
            groups=[(each, _messages_of(each), _marks_of(each)) for each in groups],
            statuses=list(DeadLetterStatus),
        )

    async def _list(self, request: Request, session: Session) -> Response:
        wanted = query_of(request, DeadLetterListQuery)
        found = await self._dead_letters.page(wanted.wanted, wanted.page)
        return self._desk.show(
            "dead_letters.html",
            session,
            dead_letters=found.items,
            more=following(request, found.next_cursor),
            given=filled_in(request),
            marked=wanted.wanted != DeadLetterFilter(statuses=tuple(wanted.status)),
            bulk=_bulk(request, wanted),
            statuses=list(DeadLetterStatus),
            saga_statuses=list(Status),
        )

    async def _show(self, request: Request, session: Session) -> Response:
        said_before = DONE.get(request.query_params.get("done", ""))
        return await self._shown(_id(request), session, said_before=said_before)

    async def _back(self, request: Request, _: Session) -> Response:
        """Where an action's answer is asked for without the action, as browsers do that load a page anew."""
        return redirect(f"/console/dead-letters/{_id(request)}")

    async def _dry_run(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        dead_letter_id, reason = _id(request), form.get("reason", "")
        try:
            asked = checked(Action, {**chosen(form, Action.model_fields), "reason": reason or "dry run"})
            plan = await self._operations.dry_run(dead_letter_id, asked.version(request))
            tried = Tried(200, f"Nothing was sent. A replay would do this: {plan.what}.", reason)
        except Exception as error:
            tried = Tried(*said(error), reason)
        return await self._shown(dead_letter_id, session, tried=tried)

    async def _replay(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        return await self._acted("replay", request, session, form)

    async def _discard(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        return await self._acted("discard", request, session, form)

    async def _disclose(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        """The letter with everything that is masked elsewhere; a page of this answer alone."""
        dead_letter_id = _id(request)
        try:
            asked = checked(Disclosure, chosen(form, Disclosure.model_fields))
            full = await self._bodies.of_dead_letter(
                dead_letter_id, Actor(session.principal.name, asked.reason)
            )
        except Exception as error:
            return await self._shown(
                dead_letter_id, session, tried=Tried(*said(error), form.get("reason", ""))
            )
        return await self._shown(dead_letter_id, session, full=full)

    async def _acted(self, action: str, request: Request, session: Session, form: dict[str, str]) -> Response:
        """Act and show the dead letter; where that is refused, the letter as it stands and why."""
        dead_letter_id = _id(request)
        try:
            asked = checked(Action, chosen(form, Action.model_fields))
            actor, version = Actor(session.principal.name, asked.reason), asked.version(request)
            if action == "replay":
                await self._operations.replay(dead_letter_id, actor, version)
            else:
                await self._operations.discard(dead_letter_id, actor, version)
        except Exception as error:
            tried = Tried(*said(error), form.get("reason", ""))
            return await self._shown(dead_letter_id, session, tried=tried)
        return redirect(f"/console/dead-letters/{dead_letter_id}?done={action}")

    async def _shown(
        self,
        dead_letter_id: UUID,
        session: Session,
        *,
        said_before: str | None = None,
        tried: Tried | None = None,
        full: FullBody | None = None,
    ) -> Response:
        detail = await self._dead_letters.detail(dead_letter_id)
        if detail is None:
            raise not_found("dead letter")
        shown = full or detail
        return self._desk.show(
            "dead_letter.html",
            session,
            status=tried.status if tried else 200,
            dead=detail,
            full=full,
            shown=shown,
            headers={name: value for name, value in shown.headers.items() if name != ERROR_STACK},
            still_open=detail.status in STILL_OPEN,
            said_before=said_before,
            tried=tried,
        )


def _id(request: Request) -> UUID:
    return id_in_path(request, "dead_letter_id", "dead letter")


def _marks_of(group: DeadLetterGroup) -> str:
    """What a group's messages are told apart by, for an address."""
    return urlencode([("queue", group.queue), ("error_type", group.error_type)])


def _messages_of(group: DeadLetterGroup) -> str:
    """What selects a group's messages, for an address."""
    return f"{_marks_of(group)}&{urlencode([('status', status.value) for status in STILL_OPEN])}"


def _bulk(request: Request, wanted: DeadLetterListQuery) -> str | None:
    """What selects all of a list for a job, for an address; None where nothing of it can be acted on.

    What has been replayed already is meant only where the list shows nothing else.
    """
    if wanted.status and not set(wanted.status) & set(STILL_OPEN):
        return None
    marks = [
        (name, value)
        for name, value in request.query_params.multi_items()
        if name in DeadLetterMarks.model_fields and value.strip()
    ]
    replaying = [("status", DeadLetterStatus.REPLAYING.value)]
    query = urlencode([*marks, *(replaying if set(wanted.status) == {DeadLetterStatus.REPLAYING} else [])])
    return f"&{query}" if query else ""
