"""Webhooks over HTTP: who may do what, what is refused and how it is said; no secret is shown twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest

from orchestrator.queries.feed import FeedQueries
from orchestrator.tokens import Role
from orchestrator.webhooks.addresses import Reach
from orchestrator.webhooks.delivery import Courier
from orchestrator.webhooks.sender import PING, WebhookSender
from tests.integration.test_tokens import BOSS, keeper
from tests.support.api import ADMIN, Api, an_api
from tests.support.receivers import Receiver, a_receiver

pytestmark = pytest.mark.postgresql

HOOKS: Final = "/admin/webhooks"
WHY: Final = {"reason": "the shop wants to know"}


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url, reach=Reach.ANYWHERE) as made:
        made.http.headers.update(ADMIN)
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with a_receiver() as made:
        yield made


@pytest.fixture
async def sender(api: Api) -> AsyncIterator[WebhookSender]:
    feed = FeedQueries(api.queries.reader, api.queries.sagas, api.deployment.registry)
    work = api.deployment.webhook_unit_of_work(api.front.outbox, None)
    courier, day = Courier(Reach.ANYWHERE, 60), timedelta(days=1)
    made = WebhookSender(work, feed, courier, api.deployment.new_id, random.Random(6), day)
    yield made
    await made.stop()


async def post(api: Api, path: str, code: int = 200, **body: Any) -> dict[str, Any]:
    response = await api.http.post(f"{HOOKS}{path}", json={**WHY, **body})
    assert response.status_code == code, response.text
    found: dict[str, Any] = response.json()
    return found


async def seen(api: Api, made: dict[str, Any]) -> dict[str, Any]:
    response = await api.http.get(f"{HOOKS}/{made['webhook_id']}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    assert response.headers["ETag"].startswith(f'"{found["version"]}-')
    return found


async def until(api: Api, sender: WebhookSender, made: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            await sender.run_once()
            await sender.settled()
            found = await seen(api, made)
            if all(found[name] == value for name, value in wanted.items()):
                return found
            await asyncio.sleep(0.01)


async def test_a_webhook_s_life_over_http(api: Api, receiver: Receiver, sender: WebhookSender) -> None:
    added = await api.http.post(HOOKS, json={**WHY, "url": receiver.url, "types": ["OrderCreatedEvent"]})
    assert added.status_code == 201, added.text
    secret, made = added.json()["secret"], added.json()["webhook"]
    assert added.headers["Location"] == f"{HOOKS}/{made['webhook_id']}"
    one = f"/{made['webhook_id']}"
    order = await api.order()
    first = await until(api, sender, made, delivered=1)
    [event] = [each.event for each in receiver.got]
    assert (event["type"], event["order_id"]) == ("OrderCreatedEvent", order["order_id"])
    assert [each["failure"] for each in first["attempts"]] == [None]
    metrics = (await api.http.get("/metrics")).text
    assert 'oms_webhooks{state="active"} 1.0' in metrics
    assert f'oms_webhook_lag_seconds{{webhook="{made["webhook_id"]}"}}' in metrics

    receiver.status = 500
    await post(api, f"{one}/replay", start="oldest", expected_version=1)
    failing = await until(api, sender, made, failures=1)
    assert failing["attempts"][0]["failure"] == "it answers 500"
    assert failing["next_at"] > failing["failing_since"]
    assert 'oms_webhooks{state="failing"} 1.0' in (await api.http.get("/metrics")).text
    paused = await post(api, f"{one}/pause", expected_version=2)
    assert (paused["state"], paused["pause"], paused["why"]) == (
        "paused",
        "by_hand",
        "somebody has paused it",
    )
    receiver.status = 200
    tried = await post(api, f"{one}/test", expected_version=3)
    assert tried["trial_waits"]
    tested = await until(api, sender, made, trial_waits=False)
    assert (tested["attempts"][0]["type"], tested["delivered"]) == (PING, 1)
    rotated = await post(api, f"{one}/rotate", overlap_s=60, expected_version=4)
    assert rotated["secret"] != secret
    assert rotated["webhook"]["old_secret_until"] is not None
    await post(api, f"{one}/resume", expected_version=5)
    await until(api, sender, made, delivered=2, failures=0)
    since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    await post(api, f"{one}/replay", start=since, expected_version=6)
    await until(api, sender, made, delivered=3)
    assert len({received.webhook_id for received in receiver.got}) == 2  # one event, and the trial

    shown = [await api.http.get(path) for path in (HOOKS, HOOKS + one, "/admin/audit-log")]
    for each in (secret, rotated["secret"]):
        assert all(each.removeprefix("whsec_") not in response.text for response in shown)
    removed = await post(api, f"{one}/remove", expected_version=7)
    assert removed["state"] == "removed"
    assert (await api.http.get(HOOKS)).json() == {"items": []}
    actions = [entry["action"] for entry in shown[2].json()["items"]]
    assert actions == [
        f"webhook.{each}" for each in ["replay", "resume", "rotate", "test", "pause", "replay", "add"]
    ]
    again = await api.http.post(f"{HOOKS}{one}/resume", json={**WHY, "expected_version": 8})
    assert again.status_code == 404


async def test_what_cannot_be_is_refused_by_name_and_does_nothing(api: Api) -> None:
    async def refused(path: str, **body: Any) -> tuple[int, str, list[str]]:
        response = await api.http.post(f"{HOOKS}{path}", json={**WHY, **body})
        problem = response.json()
        return response.status_code, problem["code"], [each["pointer"] for each in problem.get("errors", ())]

    url = "http://127.0.0.1:9/hooks"
    assert await refused("", url="ftp://127.0.0.1/") == (422, "invalid", ["/url"])
    assert await refused("", url=url, types=["OrderDone"]) == (422, "invalid", ["/types/0"])
    assert (await refused("", url=url, start="yesterday"))[0] == 422
    assert await refused("", url=url, secret="mine") == (422, "invalid", ["/secret"])
    assert (await api.http.post(HOOKS, json={"url": url})).status_code == 422
    made = (await post(api, "", 201, url=url))["webhook"]
    one = f"/{made['webhook_id']}"
    assert await refused("", url=url) == (409, "url_in_use", [])
    assert await refused(f"{one}/pause") == (428, "version_missing", [])
    assert await refused(f"{one}/pause", expected_version=5) == (412, "stale_version", [])
    assert (await refused(f"{one}/rotate", overlap_s=10**9, expected_version=1))[0] == 422
    assert (await refused("/nothing/pause", expected_version=1))[0] == 404
    assert (await seen(api, made))["version"] == 1
    strict = [("http://shop.example.com/", 422), ("https://10.0.0.1/", 422)]
    api.front.webhooks.reach = Reach.PUBLIC
    for each, status in strict:
        assert (await refused("", url=each))[0] == status
    assert len((await api.http.get(HOOKS)).json()["items"]) == 1


async def test_viewers_look_and_admins_alone_act(api: Api) -> None:
    made = (await post(api, "", 201, url="http://127.0.0.1:9/hooks"))["webhook"]
    one, tokens = f"{HOOKS}/{made['webhook_id']}", keeper(api)
    for role, looks in ((None, 401), (Role.VIEWER, 200), (Role.OPERATOR, 200)):
        headers = {"Authorization": ""}
        if role is not None:
            secret, _ = await tokens.create(role.value, role, BOSS)
            headers = {"Authorization": f"Bearer {secret}"}
        assert (await api.http.get(HOOKS, headers=headers)).status_code == looks
        assert (await api.http.get(one, headers=headers)).status_code == looks
        acts = 401 if role is None else 403
        for path in ("", *(f"/{made['webhook_id']}/{each}" for each in ACTIONS)):
            body = {**WHY, "expected_version": 1}
            response: httpx.Response = await api.http.post(f"{HOOKS}{path}", json=body, headers=headers)
            assert response.status_code == acts, path


ACTIONS: Final = ("pause", "resume", "replay", "rotate", "test", "remove")
