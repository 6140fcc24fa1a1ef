"""Forms as people handle them: clicked twice, sent after the session has ended, filled in by lines."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_double_click_acts_once_and_says_that_it_was_done(stage: Stage, page: Page) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_down")
    await stage.stuck(saga_id)
    await stage.sign_in(page, "operator", f"/console/sagas/{saga_id}")
    retry = page.locator("form", has=page.get_by_role("heading", name="Retry"))
    await retry.get_by_label("Reason").fill("clicked twice")
    await retry.get_by_role("button", name="Retry").dblclick()

    said = page.get_by_text(re.compile("Sent once more, with a full deadline|This was done already"))
    await expect(said).to_be_visible()
    await expect(page.get_by_text("Somebody was faster")).to_have_count(0)
    await page.reload()
    await expect(said).to_have_count(0)
    async with stage.deployment.client() as client:
        log = (await client.get("/admin/audit-log", params={"subject": f"saga:{saga_id}"})).json()["items"]
    assert [entry["reason"] for entry in log] == ["clicked twice"]


async def test_what_is_typed_outlives_the_session(stage: Stage, page: Page) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_down")
    await stage.stuck(saga_id)
    await stage.sign_in(page, "operator", f"/console/sagas/{saga_id}")
    retry = page.locator("form", has=page.get_by_role("heading", name="Retry"))
    await retry.get_by_label("Reason").fill("the gateway is back,\nthey say \N{THUMBS UP SIGN}")
    await page.context.clear_cookies()
    await retry.get_by_role("button", name="Retry").click()

    await expect(page.get_by_role("alert")).to_contain_text("Your session has ended")
    await page.get_by_label("Token").fill(stage.tokens["operator"])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was done yet")
    await expect(retry.get_by_label("Reason")).to_have_value(
        "the gateway is back,\nthey say \N{THUMBS UP SIGN}"
    )
    await retry.get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("status").first).to_contain_text("Sent once more")
    await expect(page).to_have_url(f"{stage.url}/console/sagas/{saga_id}")


async def test_a_session_that_ends_under_an_open_page_takes_nothing_from_it(stage: Stage, page: Page) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_down")
    found = await stage.stuck(saga_id)
    await stage.sign_in(page, "operator", f"/console/sagas/{saga_id}")
    retry = page.locator("form", has=page.get_by_role("heading", name="Retry"))
    await retry.get_by_label("Reason").fill("half typed")
    await page.context.clear_cookies()
    await stage.retry(found, "something changes")

    await expect(page.locator("#live-state")).to_contain_text("signed out", timeout=60_000)
    await expect(retry.get_by_label("Reason")).to_have_value("half typed")
