"""Webhooks: how each fares, and what an admin does about it. Secrets are shown elsewhere, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.inputs import Actor
from orchestrator.http.access import Permission
from orchestrator.http.admin.requests import Action
from orchestrator.http.admin.webhooks import Places, SetBack, cursor_of
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.deeds import Deed, Deeds
from orchestrator.http.console.desk import Desk, Tried
from orchestrator.http.console.forms import checked, chosen
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.webhooks import standing

A = TypeVar("A", bound=Action)
Operate = Callable[[UUID, Actor, int], Awaitable[object]]

PAUSED: Final = "It is paused. Nothing is sent until somebody resumes it."
RESUMED: Final = "It is resumed, from where it stood."
SET_BACK: Final = "It is set back. What its receiver has got already comes again, under the same ids."
TRIED: Final = "A trial event is sent within seconds; what comes of it is among the attempts."
REMOVED: Final = "It is removed. Nothing is sent any more, and its secrets are forgotten."


class WebhookPages:
    """What people see of webhooks, and admins do about them."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._deeds = Deeds(dependencies.queries.audit_log, desk.notes)
        self._operations = dependencies.webhooks
        self._webhooks = dependencies.queries.webhooks
        self._places = Places(dependencies.queries.feed)

    def routes(self) -> Iterator[APIRoute]:
        """Their routes."""
        one = "/console/webhooks/{webhook_id}"
        yield self._desk.page("/console/webhooks", self._list)
        yield self._desk.page(one, self._show)
        for action, act in (
            ("pause", partial(self._plain, self._operations.pause, PAUSED)),
            ("resume", partial(self._plain, self._operations.resume, RESUMED)),
            ("replay", self._replay),
            ("test", partial(self._plain, self._operations.ping, TRIED)),
            ("remove", partial(self._plain, self._operations.remove, REMOVED)),
        ):
            yield from self._desk.action(f"{one}/{action}", act, self._again, Permission.WEBHOOKS)
            yield self._desk.page(f"{one}/{action}", self._back)

    async def _list(self, request: Request, session: Session) -> Response:
        found = (await self._webhooks.all()).items
        shown = [(each, standing(each)) for each in found]
        return self._desk.show("webhooks.html", session, webhooks=shown)

    async def _show(self, request: Request, session: Session) -> Response:
        return await self._shown(_id(request), session, said_before=self._desk.notes.of(request, session))

    async def _back(self, request: Request, _: Session) -> Response:
        """Where an action's answer is asked for without the action, as browsers do that load a page anew."""
        return redirect(f"/console/webhooks/{_id(request)}")

    async def _again(self, request: Request, session: Session, tried: Tried) -> Response:
        return await self._shown(_id(request), session, tried=tried)

    async def _plain(
        self, operate: Operate, told: str, request: Request, session: Session, form: dict[str, str]
    ) -> Response:
        """An action that takes no more than a reason."""

        async def act(asked: Action, actor: Actor, version: int) -> str:
            await operate(_id(request), actor, version)
            return told

        return await self._done(request, session, form, Action, act)

    async def _replay(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        async def act(asked: SetBack, actor: Actor, version: int) -> str:
            start = await self._places.of(asked.start)
            place = cursor_of(start), start.pruned_sagas
            await self._operations.replay(_id(request), actor, version, *place)
            return SET_BACK

        return await self._done(request, session, form, SetBack, act)

    async def _done(
        self,
        request: Request,
        session: Session,
        form: dict[str, str],
        model: type[A],
        act: Callable[[A, Actor, int], Awaitable[str]],
    ) -> Response:
        webhook_id, action = _id(request), request.url.path.rpartition("/")[2]
        asked = checked(model, chosen(form, model.model_fields))
        actor, version = Actor(session.principal.name, asked.reason), asked.version(request)
        deed = Deed(f"webhook.{action}", f"webhook:{webhook_id}", actor, version)
        page = f"/console/webhooks/{webhook_id}"
        return await self._deeds.done(request, session, deed, lambda: act(asked, actor, version), page)

    async def _shown(
        self,
        webhook_id: UUID,
        session: Session,
        *,
        said_before: str | None = None,
        tried: Tried | None = None,
    ) -> Response:
        found = await self._webhooks.one(webhook_id)
        if found is None:
            raise not_found("webhook")
        return self._desk.show(
            "webhook.html",
            session,
            status=tried.status if tried else 200,
            webhook=found,
            standing=standing(found),
            said_before=said_before,
            tried=tried,
        )


def _id(request: Request) -> UUID:
    return id_in_path(request, "webhook_id", "webhook")
