"""Dead letters: groups, the messages of a group, one with headers and body, and what can be done with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from contracts.failures import ERROR_STACK
from orchestrator.core.inputs import Actor
from orchestrator.core.state import Status
from orchestrator.dead_letters.selection import STILL_OPEN, DeadLetterFilter
from orchestrator.http.access import Permission
from orchestrator.http.admin.bodies import Bodies
from orchestrator.http.admin.requests import (
    Action,
    DeadLetterFilters,
    DeadLetterListQuery,
    DeadLetterMarks,
    Reasoned,
)
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.deeds import Deed, Deeds
from orchestrator.http.console.desk import Desk, Tried, filled_in, following
from orchestrator.http.console.forms import checked, chosen, query_of
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.views import DeadLetterGroup, FullBody
from orchestrator.storage import DeadLetterStatus

REPLAYED: Final = "It has been sent once more. It is resolved when its work is done."
DISCARDED: Final = "It is closed; nothing was sent."


class DeadLetterPages:
    """What operators see and do about dead letters."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._deeds = Deeds(dependencies.queries.audit_log, desk.notes)
        self._operations = dependencies.dead_letters
        self._dead_letters = dependencies.queries.dead_letters
        self._bodies = Bodies(dependencies.disclosures, dependencies.queries.messages)

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        one = "/console/dead-letters/{dead_letter_id}"
        yield self._desk.page("/console/dead-letters", self._groups)
        yield self._desk.page("/console/dead-letters/messages", self._list)
        yield self._desk.page(one, self._show)
        for action, act in (("dry-run", self._dry_run), ("replay", self._replay), ("discard", self._discard)):
            yield from self._desk.action(f"{one}/{action}", act, self._again)
        yield from self._desk.action(f"{one}/body", self._disclose, self._again, Permission.DISCLOSE)
        for answered in ("dry-run", "replay", "discard", "body"):
            yield self._desk.page(f"{one}/{answered}", self._back)

    async def _groups(self, request: Request, session: Session) -> Response:
        wanted = query_of(request, DeadLetterFilters)
        found = await self._dead_letters.groups(wanted.wanted)
        return self._desk.show(
            "dead_letter_groups.html",
            session,
            groups=[(each, _messages_of(each), _marks_of(each)) for each in found.items],
            more=found.more,
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
        return await self._shown(_id(request), session, said_before=self._desk.notes.of(request, session))

    async def _back(self, request: Request, _: Session) -> Response:
        """Where an action's answer is asked for without the action, as browsers do that load a page anew."""
        return redirect(f"/console/dead-letters/{_id(request)}")

    async def _again(self, request: Request, session: Session, tried: Tried) -> Response:
        return await self._shown(_id(request), session, tried=tried)

    async def _dry_run(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        given = chosen(form, Action.model_fields)
        asked = checked(Action, {**given, "reason": given.get("reason") or "dry run"})
        plan = await self._operations.dry_run(_id(request), asked.version(request))
        sentence = f"Nothing was sent. A replay would do this: {plan.what}."
        return await self._again(request, session, Tried(200, sentence, "dry-run", form))

    async def _replay(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        async def act(actor: Actor, version: int) -> str:
            await self._operations.replay(_id(request), actor, version)
            return REPLAYED

        return await self._done(request, session, form, act)

    async def _discard(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        async def act(actor: Actor, version: int) -> str:
            await self._operations.discard(_id(request), actor, version)
            return DISCARDED

        return await self._done(request, session, form, act)

    async def _disclose(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        """The letter with everything that is masked elsewhere; a page of this answer alone."""
        asked = checked(Reasoned, chosen(form, Reasoned.model_fields))
        actor = Actor(session.principal.name, asked.reason)
        full = await self._bodies.of_dead_letter(_id(request), actor)
        return await self._shown(_id(request), session, full=full)

    async def _done(
        self,
        request: Request,
        session: Session,
        form: dict[str, str],
        act: Callable[[Actor, int], Awaitable[str]],
    ) -> Response:
        dead_letter_id, action = _id(request), request.url.path.rpartition("/")[2]
        asked = checked(Action, chosen(form, Action.model_fields))
        actor, version = Actor(session.principal.name, asked.reason), asked.version(request)
        deed = Deed(f"dead_letter.{action}", f"dead_letter:{dead_letter_id}", actor, version)
        page = f"/console/dead-letters/{dead_letter_id}"
        return await self._deeds.done(request, session, deed, lambda: act(actor, version), page)

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
