"""Whoever may not act, acts on what has changed, or acts on what is over, is told so, and nothing is done."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_viewer_sees_everything_and_is_offered_nothing(stage: Stage, page: Page) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_flaky")
    found = await stage.stuck(saga_id)
    await stage.sign_in(page, "viewer", f"/console/sagas/{saga_id}")

    actions = page.get_by_role("region", name="What you can do")
    await expect(actions).to_contain_text("Your token lets you look, not act.")
    await expect(actions.get_by_role("button")).to_have_count(0)

    # A form that a viewer makes up is refused as well.
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    answer = await page.request.post(
        f"/console/sagas/{saga_id}/retry",
        form={"csrf": csrf or "", "expected_version": str(found["version"]), "reason": "because"},
    )
    assert answer.status == 403
    assert (await stage.saga(saga_id))["version"] == found["version"]


async def test_a_page_that_is_out_of_date_does_nothing_and_keeps_what_was_typed(
    stage: Stage, page: Page
) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_down")
    found = await stage.stuck(saga_id)
    await stage.sign_in(page, "operator", f"/console/sagas/{saga_id}")
    retry = page.locator("form", has=page.get_by_role("heading", name="Retry"))
    await retry.get_by_label("Reason").fill("I was first")

    await stage.retry(found, "somebody else")
    await retry.get_by_role("button", name="Retry").click()

    await expect(page.get_by_role("alert").first).to_contain_text("Somebody was faster")
    await expect(retry.get_by_label("Reason")).to_have_value("I was first")
    entries = await _audit_entries(stage, saga_id)
    assert [entry["reason"] for entry in entries] == ["somebody else"]


async def test_an_ended_saga_cannot_be_cancelled(stage: Stage, page: Page) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_flaky")
    found = await stage.stuck(saga_id)
    await stage.sign_in(page, "operator", f"/console/sagas/{saga_id}")
    cancel = page.locator("form", has=page.get_by_role("heading", name="Cancel"))
    await cancel.get_by_label("Reason").fill("too late")

    await stage.retry(found, "the gateway is back")
    ended = await stage.ended(saga_id)
    # Even with the present version there is nothing to cancel.
    version = cancel.locator("input[name=expected_version]")
    await version.evaluate("(field, version) => { field.value = version }", str(ended["version"]))
    await cancel.get_by_role("button", name="Cancel").click()

    await expect(page.get_by_role("alert").first).to_contain_text("That is not allowed now")
    await expect(page.get_by_role("region", name="What you can do")).to_contain_text("the saga has ended")
    assert (await stage.saga(saga_id))["status"] == "completed"


async def _audit_entries(stage: Stage, saga_id: str) -> list[dict[str, str]]:
    async with stage.deployment.client() as client:
        answer = await client.get("/admin/audit-log", params={"subject": f"saga:{saga_id}"})
        found: list[dict[str, str]] = answer.json()["items"]
    return found
