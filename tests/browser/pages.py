"""Every page of the console with something on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.browser.stage import ELSEWHERE, HERE, NOT_CARRIED, NOWHERE, Stage


@dataclass(frozen=True)
class Pages:
    """Addresses of pages by what they show."""

    addresses: dict[str, str]


async def some_pages(stage: Stage) -> Pages:
    """Sagas of every kind, dead letters, and the pages that show them."""
    ended = await stage.order()
    rejected = await stage.order(payment_method="pm_card_declined")
    stuck = await stage.troubled_order(payment_method="pm_gateway_down")
    spare = await stage.troubled_order(payment_method="pm_gateway_down")
    undoing = await stage.troubled_order(payment_method="pm_refund_down", shipping_address=NOWHERE)
    for saga_id in (ended, rejected):
        await stage.ended(saga_id)
    for saga_id in (stuck, spare, undoing):
        await stage.stuck(saga_id)
    held, parcels = await stage.order(hold={"reason": "a new customer"}), await _in_parcels(stage)
    waiting, returned = await stage.sent_back(ended, HERE), await stage.sent_back(parcels, HERE)
    await stage.goods_received(returned, HERE)
    await stage.ended(returned)
    letter = await _dead_letter(stage, stuck)
    message_id, job_id = await _first_message(stage, ended), await _discarding(stage, spare)
    return Pages(
        {
            "overview": "/console",
            "sagas": "/console/sagas",
            "stuck-sagas": "/console/sagas?incident=any",
            "no-sagas": "/console/sagas?order_id=00000000-0000-0000-0000-000000000000",
            "completed-saga": f"/console/sagas/{ended}",
            "rejected-saga": f"/console/sagas/{rejected}",
            "stuck-saga": f"/console/sagas/{stuck}",
            "stuck-refund": f"/console/sagas/{undoing}",
            "waiting": "/console/waiting",
            "held-saga": f"/console/sagas/{held}",
            "parcels": f"/console/sagas/{parcels}",
            "return-awaiting-goods": f"/console/sagas/{waiting}",
            "returned": f"/console/sagas/{returned}",
            "dead-letter-groups": "/console/dead-letters",
            "dead-letters": "/console/dead-letters/messages",
            "dead-letter": f"/console/dead-letters/{letter['dead_letter_id']}",
            "message": f"/console/sagas/{ended}/messages/{message_id}",
            "jobs": "/console/jobs",
            "new-job": "/console/jobs/new?kind=discard",
            "job": f"/console/jobs/{job_id}",
            "webhooks": "/console/webhooks",
            "webhook": f"/console/webhooks/{await _webhook(stage)}",
            "audit-log": "/console/audit-log",
            "health": "/console/health",
            "sign-out": "/console/logout",
            "nothing-there": "/console/nothing",
        }
    )


async def _in_parcels(stage: Stage) -> str:
    """An order in three parcels, of which the carrier takes two."""
    skus = (HERE, ELSEWHERE, NOT_CARRIED)
    return await stage.order(lines=[{"sku": sku, "quantity": 2, "unit_price": 1299} for sku in skus])


async def _dead_letter(stage: Stage, saga_id: str) -> dict[str, Any]:
    async with stage.deployment.client() as client:
        answer = await client.get("/admin/dead-letters", params={"saga_id": saga_id})
        found: dict[str, Any] = answer.json()["items"][0]
    return found


async def _first_message(stage: Stage, saga_id: str) -> str:
    async with stage.deployment.client() as client:
        answer = await client.get(f"/admin/sagas/{saga_id}/messages")
        message_id: str = answer.json()["items"][0]["message_id"]
    return message_id


async def _discarding(stage: Stage, saga_id: str) -> str:
    """A job on one saga's dead letter, so that what the other pages show stays."""
    asked = {"filter": {"saga_id": [saga_id]}, "reason": "to look at its page"}
    async with stage.deployment.client() as client:
        answer = await client.post("/admin/dead-letters/discard", json=asked)
        job_id: str = answer.json()["job_id"]
    return job_id


async def _webhook(stage: Stage) -> str:
    """A webhook whose receiver does not exist."""
    asked = {"url": "https://shop.invalid/hooks", "start": "oldest", "reason": "to look at its page"}
    async with stage.deployment.client() as client:
        answer = await client.post("/admin/webhooks", json=asked)
        webhook_id: str = answer.json()["webhook"]["webhook_id"]
    return webhook_id
