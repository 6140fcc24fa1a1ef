"""Tells stories on real servers: over HTTP as customers and operators do, and by the providers' own books."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import NullPool, TextClause, create_engine, text

from contracts.commands import Verdict
from simulation.stories.hands import Answer, Look
from tests.system.deployment import Deployment

LOOKS_EVERY_S = 0.3

COME_BACK = (429, 503)
"""Statuses by which a busy server says that it wants to be asked again."""

WAITS_SINCE_2020 = text(
    "UPDATE orchestrator.sagas SET due_at = now(), revision = revision + 1, state = "
    "replace(state::text, substr(state::text, strpos(state::text, '\"since\"') + 9, 10), "
    "'2020-01-01')::json WHERE order_id = :subject_id"
)
"""What a saga waits for, it waits for since a long time ago."""


class Board:
    """All sagas as they stand, looked at together: whoever asks is shown what was read after the question."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._next: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()

    async def saga(self, subject_id: UUID) -> Mapping[str, Any]:
        """The saga about something, as lists show it."""
        found = await asyncio.shield(self._next)
        saga: Mapping[str, Any] = found[str(subject_id)]
        return saga

    async def keep_looking(self) -> None:
        """Read again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOKS_EVERY_S)
            asked, self._next = self._next, asyncio.get_running_loop().create_future()
            asked.set_result(await self._all())

    async def _all(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        where: dict[str, Any] = {"limit": 200}
        while True:
            answer = await self._client.get("/admin/sagas", params=where)
            if answer.status_code in COME_BACK:
                await asyncio.sleep(LOOKS_EVERY_S)
                continue
            page = answer.raise_for_status().json()
            found |= {saga["order_id"]: saga for saga in page["items"]}
            if page["next_cursor"] is None:
                return found
            where["cursor"] = page["next_cursor"]


class HttpHands:
    """`Hands` on a deployment; orders are submitted at the API that starts them on the story's flow."""

    def __init__(self, deployment: Deployment, api: httpx.AsyncClient, submits_at: str, board: Board) -> None:
        self._deployment = deployment
        self._api = api
        self._submits_at = submits_at
        self._board = board

    async def count_stock(self, sku: str, on_hand: int, location: str | None) -> None:
        """See `Hands.count_stock`."""
        there = {"on_hand": on_hand, **({} if location is None else {"location": location})}
        (await self._call("PUT", f"/inventory/{sku}", json=there)).raise_for_status()

    async def submit(self, order: Mapping[str, Any], key: str) -> Answer:
        """See `Hands.submit`."""
        sent = await self._call(
            "POST", f"{self._submits_at}/orders", json=dict(order), headers={"Idempotency-Key": key}
        )
        return _answer(sent, "order_id")

    async def send_back(self, order_id: UUID, quantities: Mapping[str, int], key: str) -> Answer:
        """See `Hands.send_back`."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        asked = {"lines": lines, "reason": "too small"}
        headers = {"Idempotency-Key": key}
        return _answer(
            await self._call("POST", f"/orders/{order_id}/returns", json=asked, headers=headers), "return_id"
        )

    async def cancel(self, subject_id: UUID) -> str | None:
        """See `Hands.cancel`."""
        saga_id = (await self._board.saga(subject_id))["saga_id"]
        return _refused(await self._call("POST", f"/sagas/{saga_id}/cancel", json={"reason": "no more"}))

    async def signal(self, subject_id: UUID, wait: str, body: Mapping[str, Any]) -> str | None:
        """See `Hands.signal`."""
        saga_id = (await self._board.saga(subject_id))["saga_id"]
        return _refused(
            await self._call("POST", f"/sagas/{saga_id}/signals/{wait}?reason=seen", json=dict(body))
        )

    async def let_days_pass(self, subject_id: UUID) -> None:
        """See `Hands.let_days_pass`: since when it waits is written into the past."""
        await asyncio.to_thread(self._write, WAITS_SINCE_2020, subject_id)

    async def settle(self, subject_id: UUID, step: str, verdict: Verdict) -> str | None:
        """See `Hands.settle`. Nothing has to be done at the sandbox: it does nothing late."""
        said = {"step": step, "verdict": verdict.value, "reference": "by hand"}
        return await self._act(subject_id, "resolve", said)

    async def retry(self, subject_id: UUID) -> str | None:
        """See `Hands.retry`."""
        return await self._act(subject_id, "retry", {})

    async def replay(self, subject_id: UUID) -> None:
        """See `Hands.replay`."""
        saga_id = (await self._board.saga(subject_id))["saga_id"]
        found = await self._call("GET", f"/admin/dead-letters?saga_id={saga_id}&status=open")
        for dead in found.raise_for_status().json()["items"]:
            asked = {"reason": "the gateway is back", "dry_run": False, "expected_version": dead["version"]}
            _refused(
                await self._call("POST", f"/admin/dead-letters/{dead['dead_letter_id']}/replay", json=asked)
            )

    async def _act(self, subject_id: UUID, action: str, said: Mapping[str, Any]) -> str | None:
        """At the version that stands, again where another one has come meanwhile."""
        saga_id = (await self._board.saga(subject_id))["saga_id"]
        unanswered = False
        while True:
            shown = await self._call("GET", f"/admin/sagas/{saga_id}")
            version = shown.raise_for_status().json()["version"]
            asked = {**said, "reason": "seen to", "expected_version": version}
            sent = await self._api.post(f"/admin/sagas/{saga_id}/actions/{action}", json=asked)
            if sent.status_code in COME_BACK:
                unanswered = True
                await asyncio.sleep(LOOKS_EVERY_S)
            elif (refused := _refused(sent)) != "stale_version":
                return None if unanswered else refused

    async def _call(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """Ask until it is answered: each of these may be repeated."""
        while (answer := await self._api.request(method, path, **sent)).status_code in COME_BACK:
            await asyncio.sleep(LOOKS_EVERY_S)
        return answer

    async def look(self, subject_id: UUID) -> Look:
        """See `Hands.look`."""
        saga = await self._board.saga(subject_id)
        kinds = saga["incident_kinds"]
        ended = saga["ended_at"] is not None
        return Look(saga["label"], ended, bool(kinds), "verdict_refused" in kinds, saga["step"])

    async def pause(self) -> None:
        """See `Hands.pause`: every look waits for the next one of all."""

    async def failure(self, order_id: UUID) -> str | None:
        """See `Hands.failure`."""
        order = (await self._call("GET", f"/orders/{order_id}")).raise_for_status().json()
        code: str | None = order["failure"] and order["failure"]["code"]
        return code

    async def stock(self, sku: str) -> tuple[int, int]:
        """See `Hands.stock`."""
        level = (await self._call("GET", f"/inventory/{sku}")).raise_for_status().json()
        return level["on_hand"], level["reserved"]

    async def money(self, order_id: UUID) -> tuple[int, int, int]:
        """See `Hands.money`."""
        charges = [each for each in await self._books("charges", order_id) if each["status"] == "succeeded"]
        aside = [
            each["amount"] - each["captured"]
            for each in await self._books("authorizations", order_id)
            if each["status"] == "authorized" and not (each["released"] or each["expired"])
        ]
        return sum(each["amount"] for each in charges), sum(each["refunded"] for each in charges), sum(aside)

    async def parcels(self, order_id: UUID) -> Sequence[Mapping[str, int]]:
        """See `Hands.parcels`: what the carrier has, with what it was asked for."""
        saga_id = (await self._board.saga(order_id))["saga_id"]
        sent = (
            (await self._call("GET", f"/admin/sagas/{saga_id}/messages")).raise_for_status().json()["items"]
        )
        asked = {each["body"]["step"]: each["body"]["lines"] for each in sent if each["type"] == "ShipOrder"}
        taken = [each for each in await self._books("shipments", order_id) if each["status"] == "shipped"]
        steps = [each["key"].split(":")[1] for each in sorted(taken, key=lambda each: str(each["key"]))]
        return [{line["sku"]: line["quantity"] for line in asked[step]} for step in steps]

    async def events(self, subject_id: UUID) -> Sequence[str]:
        """See `Hands.events`: what the feed has of it."""
        found = await self._call("GET", f"/events?order_id={subject_id}&limit=500")
        return [each["type"] for each in found.raise_for_status().json()["items"]]

    async def orders_of(self, customer_id: str) -> int:
        """See `Hands.orders_of`."""
        found = await self._call("GET", "/orders", params={"customer_id": customer_id})
        return len(found.raise_for_status().json()["items"])

    def _write(self, statement: TextClause, subject_id: UUID) -> None:
        with create_engine(self._deployment.database_url, poolclass=NullPool).begin() as connection:
            assert connection.execute(statement, {"subject_id": subject_id}).rowcount == 1

    async def _books(self, kind: str, order_id: UUID) -> list[Any]:
        answer = await self._call("GET", f"{self._deployment.sandbox_url}/{kind}?order_id={order_id}")
        items: list[Any] = answer.raise_for_status().json()["items"]
        return items


def _answer(sent: httpx.Response, name: str) -> Answer:
    refused = _refused(sent)
    return Answer(UUID(sent.json()[name])) if refused is None else Answer(refused=refused)


def _refused(sent: httpx.Response) -> str | None:
    """The code of a refusal. Raises HTTPStatusError for what is none."""
    if sent.is_success:
        return None
    if sent.is_server_error:
        sent.raise_for_status()
    return str(sent.json()["code"])
