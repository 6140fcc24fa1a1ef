"""Every page, light and dark, wide and narrow, before an automated accessibility check; keyboards, titles."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.pages import Pages
from tests.browser.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

GRAVE = ("serious", "critical")
VIEWS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_page_has_a_serious_finding(
    stage: Stage, pages: Pages, page: Page, scheme: str, view: str
) -> None:
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    await page.set_viewport_size({"width": VIEWS[view]["width"], "height": VIEWS[view]["height"]})
    found = await _findings(page, "/console/login")
    await stage.sign_in(page, "admin")
    for address in pages.addresses.values():
        found |= await _findings(page, address)
    assert found == {}


async def test_no_page_is_wider_than_a_phone(stage: Stage, pages: Pages, page: Page) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await stage.sign_in(page, "admin")
    too_wide = {}
    for name, address in pages.addresses.items():
        await page.goto(address)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        if wide > 360:
            too_wide[name] = wide
    assert too_wide == {}


async def test_every_page_has_a_title_of_its_own(stage: Stage, pages: Pages, page: Page) -> None:
    await stage.sign_in(page, "admin")
    titles = {}
    for name, address in pages.addresses.items():
        await page.goto(address)
        titles[name] = await page.title()
        await expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert all(title.endswith(" · OMS console") for title in titles.values())
    assert len(set(titles.values())) == len(titles), titles


async def test_the_keyboard_alone_finds_the_stuck_saga(stage: Stage, pages: Pages, page: Page) -> None:
    await stage.sign_in(page, "viewer")
    await page.goto("/console/sagas?incident=any")

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    first = page.locator("#list a.id").first
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await first.evaluate("link => link === document.activeElement"):
            break
    await expect(first).to_be_focused()
    outline = await first.evaluate("link => getComputedStyle(link).outlineStyle")
    assert outline != "none"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Saga")


async def _findings(page: Page, address: str) -> dict[str, list[str]]:
    """What is seriously wrong with a page: the rule, and where."""
    await page.goto(address)
    results = await Axe().run(page)
    return {
        f"{address} {each['id']}": [node["html"][:200] for node in each["nodes"]]
        for each in results.response["violations"]
        if each["impact"] in GRAVE
    }
