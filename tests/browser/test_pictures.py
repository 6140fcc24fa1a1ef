"""Pictures of every page, to be looked at: `OMS_PICTURES=FOLDER make browser ARGS="-k pictures"`.

Without a folder they are taken all the same, and thrown away.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.browser.pages import Pages
from tests.browser.stage import Stage
from tests.browser.test_accessibility import VIEWS

FOLDER = os.environ.get("OMS_PICTURES")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pictures_of_every_page(
    stage: Stage, pages: Pages, page: Page, tmp_path: Path, scheme: str, view: str
) -> None:
    folder = Path(FOLDER or tmp_path)
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.set_viewport_size({"width": VIEWS[view]["width"], "height": VIEWS[view]["height"]})
    await page.goto("/console/login")
    await page.screenshot(path=folder / f"login-{view}-{scheme}.png")
    await stage.sign_in(page, "admin")
    for name, address in pages.addresses.items():
        await page.goto(address)
        await page.screenshot(path=folder / f"{name}-{view}-{scheme}-top.png")
        await page.screenshot(path=folder / f"{name}-{view}-{scheme}.png", full_page=True)
    assert (folder / f"login-{view}-{scheme}.png").stat().st_size
