"""Signing in and out at the company's own provider: a certified one, in a real browser, on another site."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from oms.processes import stack
from oms.settings import load_settings
from orchestrator.oidc import remembered
from tests.support.certified_provider import RESOURCE, SECRET, CertifiedProvider, a_certified_provider
from tests.support.issuers import CLIENT, SigningKey
from tests.support.servers import Databases
from tests.system.deployment import free_port

pytestmark = [pytest.mark.browser, pytest.mark.postgresql, pytest.mark.asyncio(loop_scope="session")]


@dataclass(frozen=True)
class Place:
    """An installation, and the provider of its people."""

    url: str
    provider: CertifiedProvider

    async def sign_in(self, page: Page, name: str, at: str = "/console") -> None:
        """From the sign-in page to the provider, and back again."""
        await page.goto(f"{self.url}{at}")
        await page.get_by_role("link", name="Sign in with localhost").click()
        await page.get_by_placeholder("Enter any login").fill(name)
        await page.get_by_placeholder("and password").fill("anything")
        await page.get_by_role("button", name="Sign-in").click()
        await page.get_by_role("button", name="Continue").click()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder, url, port = tmp_path_factory.mktemp("place"), databases.create(), free_port()
    home = f"http://127.0.0.1:{port}"
    async with a_certified_provider(folder, home) as provider:
        settings = load_settings(
            database_url=url,
            admin_token="an-admin-token",
            oidc_issuer=provider.url,
            oidc_client_id=CLIENT,
            oidc_client_secret=SECRET,
            oidc_audience=RESOURCE,
            oidc_roles="admin=oms-admins,operator=oms-operators",
            public_url=home,
        )
        async with stack(settings, "127.0.0.1", port, folder):
            yield Place(home, provider)
    databases.drop(url)


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    made = await browser.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(30_000)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    troubles: list[str] = []
    made = await context.new_page()
    made.on("console", lambda said: troubles.append(said.text) if "Security Policy" in said.text else None)
    yield made
    assert troubles == []


async def test_a_person_signs_in_at_the_provider_looks_around_and_signs_out_at_both(
    place: Place, page: Page
) -> None:
    await place.sign_in(page, "olga", "/console/sagas?incident=any")
    await expect(page).to_have_url(f"{place.url}/console/sagas?incident=any")
    await expect(page.locator(".who")).to_have_text("oidc:olga (Olga) (operator)")
    await page.get_by_role("link", name="Health").click()
    await expect(page).to_have_title("Health · OMS console")

    await page.get_by_role("button", name="Sign out").click()
    await expect(page).to_have_url(re.compile(re.escape(place.provider.url)))
    await page.get_by_role("button", name="Yes, sign me out").click()
    await expect(page).to_have_url(f"{place.url}/console/login")
    await page.goto(f"{place.url}/console/sagas")
    await expect(page).to_have_title("Sign in · OMS console")


async def test_whoever_has_no_role_is_told_so(place: Place, page: Page) -> None:
    await place.sign_in(page, "nobody")
    await expect(page.get_by_role("alert")).to_contain_text(
        "localhost knows you as oidc:nobody (Norbert), but nothing in the claim groups gives you a role here"
    )


async def test_a_person_who_leaves_at_the_provider_is_signed_out_here(
    place: Place, page: Page, browser: Browser
) -> None:
    await place.sign_in(page, "ada")
    await expect(page.locator(".who")).to_have_text("oidc:ada (Ada) (admin)")
    await page.goto(f"{place.provider.url}/session/end")
    await page.get_by_role("button", name="Yes, sign me out").click()
    await page.wait_for_url("**/session/end/success")
    await page.goto(f"{place.url}/console/sagas")
    await expect(page).to_have_title("Sign in · OMS console")


async def test_an_address_that_was_used_signs_nobody_in_again(
    place: Place, page: Page, context: BrowserContext
) -> None:
    used: list[str] = []
    page.on("request", lambda asked: used.append(asked.url) if "/login/callback" in asked.url else None)
    await place.sign_in(page, "olga")
    await expect(page).to_have_title("Overview · OMS console")
    await page.goto(
        "about:blank"
    )  # a page that is open leads to signing in by itself once its session is gone
    await context.clear_cookies()
    await page.goto(used[0])
    await expect(page.get_by_role("alert")).to_contain_text("begun elsewhere, or too long ago")


async def test_a_provider_that_is_down_is_missed_by_those_alone_who_want_to_sign_in(
    place: Place, page: Page, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.sign_in(page, "olga")
    await expect(page).to_have_title("Overview · OMS console")
    for name in ("FRESH_S", "STALE_S", "AGAIN_S"):
        monkeypatch.setattr(remembered, name, 0.0)  # nothing is remembered of it
    await place.provider.stop()
    try:
        await page.get_by_role("link", name="Sagas", exact=True).click()
        await expect(page).to_have_title("Sagas · OMS console")
        other = await browser.new_page()
        await other.goto(f"{place.url}/console")
        await other.get_by_role("link", name="Sign in with localhost").click()
        await expect(other.get_by_role("alert")).to_contain_text(
            "Nobody can sign in at the provider just now"
        )
        await other.get_by_label("Token").fill("an-admin-token")
        await other.get_by_role("button", name="Sign in").click()
        await expect(other).to_have_title("Overview · OMS console")
        await other.close()
    finally:
        await place.provider.start()


async def test_a_program_comes_with_the_providers_token_also_after_its_keys_were_changed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "AGAIN_S", 0.0)
    async with httpx.AsyncClient(base_url=place.url) as client:

        async def asked(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return (await client.get("/admin/sagas", headers=headers)).status_code

        before = await place.provider.program_token()
        assert await asked(before) == 200
        assert await asked(await place.provider.program_token("urn:another")) == 401
        await place.provider.restart(SigningKey("second"), *place.provider.keys)
        after = await place.provider.program_token()
        assert (await asked(after), await asked(before)) == (200, 200)
        await place.provider.restart(SigningKey("third"))
        assert await asked(await place.provider.program_token()) == 200
        assert await asked(before) == 401
