"""Webhooks for admins: add, pause, resume, set back, rotate, try, remove. A viewer may look at them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import field_error, unprocessable
from orchestrator.core.inputs import Actor
from orchestrator.http.access import Permission
from orchestrator.http.admin.requests import Action, Moment, Reasoned, Text
from orchestrator.http.admin.routes import (
    A_LOOK,
    A_VERSIONED_LOOK,
    AN_ACTION,
    add,
    asked,
    asked_of,
    tag_of,
    versioned,
)
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.feed import MOST_TYPES, unknown_types
from orchestrator.http.openapi import Responses, problems, success, takes
from orchestrator.operations import NotAllowed
from orchestrator.queries.feed import CursorGone, FeedQueries, Start
from orchestrator.queries.feed_position import BEGINNING
from orchestrator.queries.webhooks import WebhookList, WebhookView
from orchestrator.webhooks.addresses import MAX_URL, UnusableUrl
from orchestrator.webhooks.operations import DEFAULT_OVERLAP, MOST_OVERLAP, Wish
from orchestrator.webhooks.webhook import Webhook

A = TypeVar("A", bound=Action)

Place = Annotated[
    Literal["latest", "oldest"] | Moment,
    Field(
        description="`latest`: what happens from now on; `oldest`: all that is kept; a time: what happened "
        "since, and some of the hour before"
    ),
]


class NewWebhook(Reasoned):
    """Where events are to be sent, and which."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]
    types: Annotated[
        tuple[Text, ...],
        Field(max_length=MOST_TYPES, description="Such as OrderCompletedEvent; none for all"),
    ] = ()
    start: Place = "latest"


class SetBack(Action):
    """From where events are to be sent, also those that were sent before."""

    start: Place


class Rotation(Action):
    """A new secret, beside which the one of before signs for a while."""

    overlap_s: Annotated[int, Field(strict=True, ge=0, le=int(MOST_OVERLAP.total_seconds()))] = int(
        DEFAULT_OVERLAP.total_seconds()
    )


class WebhookSecret(BaseModel):
    """A webhook, and the secret that signs what it sends. It is not shown again."""

    secret: str = Field(description="As `whsec_` and base64: what libraries of Standard Webhooks take")
    webhook: WebhookView


class Places:
    """Where in the feed a webhook may begin."""

    def __init__(self, feed: FeedQueries) -> None:
        self._feed = feed

    async def of(self, place: Any) -> Start:
        """The start that somebody asks for.

        Raises:
            NotAllowed: some of what happened since that time is not there any more.
            FeedUnordered, StorageUnavailable: the feed cannot be read.
        """
        if place == "latest":
            return await self._feed.end()
        try:
            return await self._feed.start(None if place == "oldest" else place)
        except CursorGone:
            said = "some of what has happened since then was pruned; `oldest` begins with what is kept"
            raise NotAllowed("events_pruned", said) from None


def cursor_of(start: Start) -> str | None:
    """As it is kept."""
    return None if start.position == BEGINNING else start.position.cursor


class WebhookEndpoints:
    """What admins do with webhooks, and viewers see of them."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._access = dependencies.access
        self._operations = dependencies.webhooks
        self._webhooks = dependencies.queries.webhooks
        self._feed = dependencies.queries.feed
        self._places = Places(dependencies.queries.feed)

    async def all(self, _: Request) -> Response:
        """All webhooks, the oldest first; never their secrets."""
        return answer(await self._webhooks.all())

    async def show(self, request: Request) -> Response:
        """A webhook, where it stands, and its latest attempts."""
        return await self._shown(id_in_path(request, "webhook_id", "webhook"))

    async def add(self, request: Request) -> Response:
        """Send events to a URL. The answer has the secret that signs them; it is not shown again."""
        body, actor = await asked(self._access, request, NewWebhook, Permission.WEBHOOKS)
        if wrong := unknown_types(self._feed, body.types, "types"):
            raise unprocessable(wrong)
        start = await self._places.of(body.start)
        types = tuple(dict.fromkeys(body.types))
        wish = Wish(body.url, types, cursor_of(start), start.pruned_sagas)
        try:
            made = await self._operations.add(wish, actor)
        except UnusableUrl as error:
            raise unprocessable([field_error(("url",), "unusable_url", str(error))]) from None
        return await self._with_secret(made, 201)

    async def pause(self, request: Request) -> Response:
        """Send nothing until it is resumed; it keeps its place."""
        webhook_id, body, actor = await self._asked(request, Action)
        await self._operations.pause(webhook_id, actor, body.version(request))
        return await self._shown(webhook_id)

    async def resume(self, request: Request) -> Response:
        """Send again from where it stands; where the last try failed, at once."""
        webhook_id, body, actor = await self._asked(request, Action)
        await self._operations.resume(webhook_id, actor, body.version(request))
        return await self._shown(webhook_id)

    async def replay(self, request: Request) -> Response:
        """Send from another place on, also what was sent before, under the same ids. It is active then."""
        webhook_id, body, actor = await self._asked(request, SetBack)
        version = body.version(request)
        start = await self._places.of(body.start)
        place = cursor_of(start), start.pruned_sagas
        await self._operations.replay(webhook_id, actor, version, *place)
        return await self._shown(webhook_id)

    async def rotate(self, request: Request) -> Response:
        """Give it a new secret, which is in the answer alone; for a while both sign."""
        webhook_id, body, actor = await self._asked(request, Rotation)
        overlap = timedelta(seconds=body.overlap_s)
        changed = await self._operations.rotate(webhook_id, actor, body.version(request), overlap)
        return await self._with_secret(changed, 200)

    async def test(self, request: Request) -> Response:
        """Have a trial event sent soon, also where it is paused; what came of it is among the attempts."""
        webhook_id, body, actor = await self._asked(request, Action)
        await self._operations.ping(webhook_id, actor, body.version(request))
        return await self._shown(webhook_id)

    async def remove(self, request: Request) -> Response:
        """Send nothing any more. Its secrets are forgotten; what was done with it stays in the audit log."""
        webhook_id, body, actor = await self._asked(request, Action)
        await self._operations.remove(webhook_id, actor, body.version(request))
        return await self._shown(webhook_id)

    async def _asked(self, request: Request, model: type[A]) -> tuple[UUID, A, Actor]:
        return await asked_of(self._access, request, model, "webhook_id", "webhook", Permission.WEBHOOKS)

    async def _view(self, webhook_id: UUID) -> WebhookView:
        found = await self._webhooks.one(webhook_id)
        if found is None:
            raise not_found("webhook")
        return found

    async def _shown(self, webhook_id: UUID) -> Response:
        found = await self._view(webhook_id)
        return versioned(found)

    async def _with_secret(self, webhook: Webhook, status: int) -> Response:
        view = await self._view(webhook.webhook_id)
        headers = tag_of(view)
        if status == 201:
            headers["Location"] = f"/admin/webhooks/{webhook.webhook_id}"
        return answer(WebhookSecret(secret=webhook.secret, webhook=view), status, headers)


_MADE: Final[Responses] = {
    **success(
        201,
        WebhookSecret,
        "It is there",
        {"Location": {"schema": {"type": "string"}, "description": "The webhook", "required": True}},
    ),
    **problems(400, 401, 403, 409, 413, 415, 422, 500, 503),
}


def add_webhook_routes(router: APIRouter, dependencies: Dependencies) -> None:
    """Everything under `/admin/webhooks`."""
    endpoints, put, one = WebhookEndpoints(dependencies), partial(add, router), "/webhooks/{webhook_id}"
    act = partial(put, AN_ACTION)
    router.add_api_route(
        "/webhooks",
        endpoints.add,
        methods=["POST"],
        summary="Add a webhook",
        responses=_MADE,
        status_code=201,
        openapi_extra=takes(NewWebhook),
    )
    put(A_LOOK, "/webhooks", endpoints.all, WebhookList, "List webhooks")
    put(A_VERSIONED_LOOK, one, endpoints.show, WebhookView, "See a webhook")
    act(f"{one}/pause", endpoints.pause, WebhookView, "Pause a webhook", Action)
    act(f"{one}/resume", endpoints.resume, WebhookView, "Resume a webhook", Action)
    act(f"{one}/replay", endpoints.replay, WebhookView, "Send a webhook's events again", SetBack)
    act(f"{one}/rotate", endpoints.rotate, WebhookSecret, "Give a webhook a new secret", Rotation)
    act(f"{one}/test", endpoints.test, WebhookView, "Try a webhook", Action)
    act(f"{one}/remove", endpoints.remove, WebhookView, "Remove a webhook", Action)
