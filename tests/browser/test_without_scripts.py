"""The console is whole where scripts are disabled: the same pages, the same actions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def plain(browser: Browser, stage: Stage) -> AsyncIterator[Page]:
    """A page of a browser that runs no scripts."""
    context = await browser.new_context(base_url=stage.url, java_script_enabled=False)
    yield await context.new_page()
    await context.close()


async def test_trouble_is_found_and_settled_without_scripts(stage: Stage, plain: Page) -> None:
    saga_id = await stage.troubled_order(payment_method="pm_gateway_flaky")
    await stage.stuck(saga_id)
    await stage.sign_in(plain, "operator", "/console")
    await plain.goto("/console/sagas?incident=any")
    await plain.get_by_role("link", name=f"Saga {saga_id}").click()
    retry = plain.locator("form", has=plain.get_by_role("heading", name="Retry"))
    await retry.get_by_label("Reason").fill("try it once more")
    await retry.get_by_role("button", name="Retry").click()
    await expect(plain.get_by_role("status").first).to_contain_text("Sent once more")

    await stage.ended(saga_id)
    await plain.reload()
    await expect(plain.get_by_role("heading", level=1)).to_contain_text("completed")
    await expect(plain.get_by_role("region", name="History")).to_contain_text("try it once more")


async def test_filters_work_without_scripts(stage: Stage, plain: Page) -> None:
    saga_id = await stage.order()
    await stage.ended(saga_id)
    await stage.sign_in(plain, "viewer", "/console/sagas")
    await plain.get_by_text("Filters", exact=True).click()
    await plain.get_by_label("Status").select_option("completed")
    await plain.get_by_role("button", name="Show").click()

    assert "status=completed" in plain.url
    await expect(plain.get_by_role("link", name=f"Saga {saga_id}")).to_be_visible()
    await plain.get_by_label("Id of a saga, or of what it is about").fill(saga_id)
    await plain.get_by_role("button", name="Find").click()
    await expect(plain.get_by_role("heading", level=1)).to_contain_text(saga_id)
