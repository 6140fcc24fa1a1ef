"""Trouble at night: found, understood and settled by somebody who sees this console for the first time."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.stage import EXPECT_MS, NOWHERE, Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

IN_SIGHT = """inSight => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => !inSight });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""What a browser does when its tab is left, or come back to."""


async def test_a_stuck_saga_is_found_understood_replayed_and_seen_to_complete(
    stage: Stage, page: Page
) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_flaky")
    await stage.stuck(saga_id)
    await stage.sign_in(page, "operator")

    # From the overview to the saga.
    await page.get_by_role("link", name=re.compile("stuck, with an incident")).click()
    await expect(page.get_by_role("link", name="Stuck")).to_have_attribute("aria-current", "true")
    await page.get_by_role("link", name=f"Saga {saga_id}").click()

    # Why it stands there.
    await expect(page.get_by_role("heading", level=1)).to_contain_text(saga_id)
    why = page.get_by_role("region", name="Why it stands here")
    await expect(why).to_contain_text("It waits for the answer of payment to ChargePayment")
    await expect(why).to_contain_text("Incident dead_letter of charge")
    await expect(page.locator(".flow .box.stuck")).to_contain_text("charge")

    # What a replay would do, and then do it.
    await why.get_by_role("link", name=re.compile("ChargePayment in payment.commands")).click()
    replay = page.locator("form", has=page.get_by_role("heading", name="Replay"))
    await replay.get_by_role("button", name="Dry run").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was sent. A replay would do this:")
    await replay.get_by_label("Reason").fill("the gateway is back")
    await replay.get_by_role("button", name="Replay").click()
    await expect(page.get_by_role("status").first).to_contain_text("It has been sent once more.")

    # It completes while somebody looks.
    await page.get_by_role("link", name=saga_id).click()
    head = page.get_by_role("heading", level=1)
    await expect(head).to_contain_text("completed", timeout=EXPECT_MS)
    await expect(page.get_by_role("region", name="What you can do")).to_contain_text("the saga has ended")

    # And it is written down who did it.
    await page.get_by_role("link", name="Audit log").click()
    await expect(page.get_by_role("row").nth(1)).to_contain_text("the gateway is back")
    await expect(page.get_by_role("row").nth(1)).to_contain_text("operator-jane")


async def test_a_page_that_is_open_follows_its_saga_without_being_loaded_again(
    stage: Stage, page: Page
) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_flaky")
    found = await stage.stuck(saga_id)
    await stage.sign_in(page, "operator", f"/console/sagas/{saga_id}")
    await page.evaluate("window.loadedOnce = true")
    await expect(page.locator("#live-state")).to_have_text("live")

    await stage.retry(found, "from elsewhere")

    await expect(page.get_by_role("heading", level=1)).to_contain_text("completed", timeout=EXPECT_MS)
    assert await page.evaluate("window.loadedOnce") is True


async def test_a_stuck_refund_is_settled_with_a_verdict(stage: Stage, page: Page) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_refund_down", shipping_address=NOWHERE)
    await stage.stuck(saga_id)
    await stage.sign_in(page, "operator", f"/console/sagas/{saga_id}")

    await expect(page.locator(".flow .box.stuck")).to_contain_text("undo charge")
    resolve = page.locator("form", has=page.get_by_role("heading", name="Resolve"))
    await resolve.get_by_label("Verdict").select_option("It was settled outside")
    await resolve.get_by_label("Reason").fill("the bank paid it back by hand")
    await resolve.get_by_role("button", name="Resolve").click()

    await expect(page.get_by_role("heading", level=1)).to_contain_text("compensated", timeout=EXPECT_MS)
    charge = page.get_by_role("region", name="Steps").get_by_role("row").filter(has_text="charge")
    await expect(charge).to_contain_text("settled")
    code, printed = await stage.deployment.command("audit")
    assert code == 0, printed
    assert saga_id in printed


async def test_a_page_that_is_out_of_sight_asks_for_nothing(stage: Stage, page: Page) -> None:
    await stage.sign_in(page, "viewer", "/console/sagas")
    await expect(page.locator("#live-state")).to_have_text("live")
    await page.evaluate(IN_SIGHT, False)
    await expect(page.locator("#live-state")).to_have_text("")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    saga_id = await stage.order()
    await stage.ended(saga_id)
    link = page.get_by_role("link", name=f"Saga {saga_id}")
    await expect(link).to_have_count(0)
    assert asked == []

    await page.evaluate(IN_SIGHT, True)
    await expect(link).to_be_visible(timeout=EXPECT_MS)
