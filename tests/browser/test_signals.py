"""A person gives a signal in the console, to a saga that is about no order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.conftest import migrate_all
from tests.support.any_saga import AnySaga, any_saga
from tests.support.servers import Databases
from tests.support.serving import serving

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def sagas(databases: Databases) -> AsyncIterator[AnySaga]:
    url = databases.copy_of("migrated", migrate_all)
    async with any_saga(url) as made:
        yield made
    databases.drop(url)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, sagas: AnySaga) -> AsyncIterator[Page]:
    """Signed in as the admin; a script that fails, or a policy that is broken, fails the test."""
    troubles: list[str] = []
    async with serving(sagas.app) as url:
        context = await browser.new_context(base_url=url)
        made = await context.new_page()
        made.on("pageerror", lambda error: troubles.append(str(error)))
        made.on(
            "console", lambda said: troubles.append(said.text) if "Security Policy" in said.text else None
        )
        await made.goto("/console/login")
        await made.get_by_label("Token").fill("admin-token")
        await made.get_by_role("button", name="Sign in").click()
        await expect(made.get_by_role("button", name="Sign out")).to_be_visible()
        yield made
        await context.close()
    assert troubles == []


async def test_the_dean_approves_by_the_form_and_the_saga_goes_on(sagas: AnySaga, page: Page) -> None:
    saga = await sagas.at_the_dean()
    await page.goto(f"/console/sagas/{saga['saga_id']}")
    await expect(page.locator(".flow .box.lit[data-kind=wait]")).to_contain_text("approval")
    form = page.locator("form").filter(has=page.get_by_role("heading", name="Signal approval"))
    await form.get_by_label("Approved").select_option("yes")
    await form.get_by_label("Level").select_option("full")
    await form.get_by_label("Places").fill("2")
    await form.get_by_label("Reason, for the audit log").fill("the dean has signed")
    await form.get_by_role("button", name="Signal").click()

    await expect(page.get_by_text("The signal was taken.")).to_be_visible()
    await expect(page.locator(".flow .box.done[data-kind=end]").last).to_contain_text(
        "enrolled", timeout=30_000
    )
    received = (await sagas.ended(saga))["waits"][0]["received"]
    assert (received["sender"], received["body"]["level"], received["body"]["places"]) == ("admin", "full", 2)


async def test_what_was_typed_stays_when_the_signal_is_wrong(sagas: AnySaga, page: Page) -> None:
    saga = await sagas.at_the_dean()
    await page.goto(f"/console/sagas/{saga['saga_id']}")
    form = page.locator("form").filter(has=page.get_by_role("heading", name="Signal approval"))
    await form.get_by_label("Approved").select_option("no")
    await form.get_by_label("Remarks").fill("{not json")
    await form.get_by_label("Reason, for the audit log").fill("no place")
    await form.get_by_role("button", name="Signal").click()

    await expect(page.get_by_role("alert")).to_contain_text("it is no JSON")
    await expect(form.get_by_label("Remarks")).to_have_value("{not json")
    await expect(form.get_by_label("Approved")).to_have_value("false")
