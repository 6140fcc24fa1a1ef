"""An operator finds an order on hold, approves it, and acts on many sagas from their list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from contracts.commands import ChargePayment
from oms.definitions import registry
from oms.settings import load_settings
from tests.conftest import migrate_all
from tests.support.api import Api, an_api
from tests.support.servers import Databases
from tests.support.serving import serving

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def api(databases: Databases) -> AsyncIterator[Api]:
    """An installation with holds."""
    url = databases.copy_of("migrated", migrate_all)
    async with an_api(url, registry=registry(load_settings(hold_above="none"))) as made:
        yield made
    databases.drop(url)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, api: Api) -> AsyncIterator[Page]:
    """Signed in as the admin, on a telephone."""
    async with serving(api.app) as url:
        context = await browser.new_context(base_url=url, viewport={"width": 390, "height": 844})
        made = await context.new_page()
        await made.goto("/console/login")
        await made.get_by_label("Token").fill("admin-token")
        await made.get_by_role("button", name="Sign in").click()
        await expect(made.get_by_role("button", name="Sign out")).to_be_visible()
        yield made
        await context.close()


async def _held(api: Api) -> str:
    order = await api.order(
        hold={"reason": "a new customer"}, reference="A-1001", metadata={"channel": "web"}
    )
    await api.reserved()
    await api.is_now(order, "on_hold")
    return str(order["saga_id"])


async def _sound(page: Page) -> None:
    """Nothing grave to people who cannot see well, and nothing wider than the telephone."""
    results = await Axe().run(page)
    grave = [each for each in results.response["violations"] if each["impact"] in ("serious", "critical")]
    assert grave == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_an_order_on_hold_is_found_and_approved(api: Api, page: Page) -> None:
    saga_id = await _held(api)
    await page.goto("/console/waiting")
    await _sound(page)
    row = page.get_by_role("row").filter(has_text="A-1001")
    await expect(row).to_contain_text("a new customer")
    await row.get_by_role("link", name=f"Saga {saga_id}").click()
    form = page.locator("form").filter(has=page.get_by_role("heading", name="Signal hold"))
    await form.get_by_label("Approved").select_option("yes")
    await form.get_by_label("Reason", exact=True).fill("known by phone")
    await form.get_by_label("Reason, for the audit log").fill("looked it up")
    await form.get_by_role("button", name="Signal").click()

    await expect(page.get_by_text("The signal was taken.")).to_be_visible()
    assert isinstance((await asyncio.wait_for(api.command("payment"), 30))[1], ChargePayment)


async def test_what_is_found_by_its_reference_is_acted_on_from_the_list(api: Api, page: Page) -> None:
    await _held(api)
    await page.goto("/console/sagas")
    await page.get_by_text("Filters", exact=True).click()
    await page.get_by_label("Metadata").fill("channel=web")
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(page.get_by_role("row").filter(has_text="A-1001")).to_have_count(1)
    await page.get_by_text("Act on all of these").click()
    await _sound(page)
    await page.locator("select[name=kind]").select_option("cancel")
    await page.get_by_role("button", name="See what it would do").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 1 sagas")
    await _sound(page)
    await page.get_by_label("Reason").fill("priced wrongly")
    await page.get_by_role("button", name="Cancel 1 sagas").click()

    await expect(page.get_by_text("The job has begun")).to_be_visible()
    await expect(page.locator("#head")).to_contain_text("finished", timeout=30_000)
