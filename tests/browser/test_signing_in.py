"""The way into the console and out of it."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_person_signs_in_looks_around_and_signs_out(stage: Stage, page: Page) -> None:
    await page.goto("/console/sagas?incident=any")
    await expect(page).to_have_title("Sign in · OMS console")
    await page.get_by_label("Token").fill(stage.tokens["operator"])
    await page.keyboard.press("Enter")

    await expect(page).to_have_url(f"{stage.url}/console/sagas?incident=any")
    for name in ("Overview", "Sagas", "Dead letters", "Audit log", "Health"):
        await page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
        await expect(page).to_have_title(f"{name} · OMS console")

    await page.get_by_role("button", name="Sign out").click()
    await expect(page).to_have_title("Sign in · OMS console")
    await page.goto("/console/sagas")
    await expect(page).to_have_title("Sign in · OMS console")


async def test_a_wrong_token_is_told_so_and_may_try_again(stage: Stage, page: Page) -> None:
    await page.goto("/console")
    await page.get_by_label("Token").fill("not-the-token")
    await page.get_by_role("button", name="Sign in").click()

    await expect(page.get_by_role("alert")).to_contain_text("not known here")
    assert "not-the-token" not in await page.content()
    await page.get_by_label("Token").fill(stage.tokens["viewer"])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_title("Overview · OMS console")


async def test_the_session_is_out_of_a_scripts_reach(stage: Stage, page: Page) -> None:
    await stage.sign_in(page, "viewer")

    [cookie] = await page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert await page.evaluate("document.cookie") == ""
