"""A deployment of real parts and a real browser, for all stories of this folder."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from oms.embedded.child import ServerError
from tests.browser.chromium import chromium
from tests.browser.pages import Pages, some_pages
from tests.browser.stage import Stage
from tests.support import servers
from tests.support.servers import Databases
from tests.system.deployment import Deployment, empty

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-extensions", "--disable-component-update"]
"""Only pages of our own are opened, and root has no sandbox to offer; there is nothing to speed up either."""

TROUBLE_SOON = {
    "OMS_RETRY_DELAYS_S": "0.2",
    "OMS_MAX_ATTEMPTS": "2",
    "OMS_RESEND_AFTER_S": "600",
}
"""Whatever fails is given up at once, and nothing is sent again before a person says so."""

WHOLE_LIFE = {"OMS_SHIPMENTS": "split", "OMS_HOLD_ABOVE": "none"}
"""Orders that are on hold where they ask for it, and leave in several parcels."""


@pytest.fixture(scope="session")
def own_broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker whose queues may have their real names."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    with servers.broker(folder) as url:
        yield url
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """All services as processes, with stock, and somebody of each role."""
    await empty(own_broker_url)
    url = databases.create()
    folder: Path = tmp_path_factory.mktemp("logs")
    deployment = Deployment(own_broker_url, url, folder, **TROUBLE_SOON, **WHOLE_LIFE)
    elsewhere = [name for name in deployment.services if name not in ("api", "sandbox")]
    urls = ",".join(f"{name}=http://127.0.0.1:{deployment.services[name].port}" for name in elsewhere)
    deployment.services["api"].give(OMS_HEALTH_URLS=urls)
    await deployment.start()
    made = Stage(deployment)
    await made.set_up()
    yield made
    await deployment.stop()
    databases.drop(url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, without a window."""
    try:
        program = chromium()
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, stage: Stage) -> AsyncIterator[BrowserContext]:
    """A browser of somebody who has not been here before."""
    made = await browser.new_context(base_url=stage.url, viewport={"width": 1280, "height": 900})
    made.set_default_timeout(15_000)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """Its one page; a script that fails, or a policy that is broken, fails the test."""
    troubles: list[str] = []
    made = await context.new_page()
    made.on("pageerror", lambda error: troubles.append(str(error)))
    made.on("console", lambda said: troubles.append(said.text) if "Security Policy" in said.text else None)
    yield made
    assert troubles == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pages(stage: Stage) -> Pages:
    """Every page, with something on it."""
    return await some_pages(stage)
