"""The console, page by page, as a browser without JavaScript sees it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import pytest

from contracts import events
from messaging.unit_of_work import StorageUnavailable
from orchestrator.http.access import Access, Principal, Token
from orchestrator.http.app import create_app
from orchestrator.tokens import Role
from participants.http import LedgerReader
from tests.integration.test_http_admin import a_dead_charge
from tests.support.api import ADMIN, Api, an_api

pytestmark = pytest.mark.postgresql

SCRIPT = "<script>alert(1)</script>\"'"
PAGES = (
    "/console",
    "/console/sagas",
    "/console/sagas?status=running&incident=any",
    "/console/waiting",
    "/console/dead-letters",
    "/console/dead-letters/messages",
    "/console/jobs",
    "/console/webhooks",
    "/console/audit-log",
    "/console/health",
    "/console/logout",
)


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """Somebody has signed in as the admin."""
    async with an_api(migrated_database_url) as made:
        response = await made.http.post("/console/login", data={"token": "admin-token"})
        assert (response.status_code, response.headers["Location"]) == (303, "/console")
        made.http.headers.update(ADMIN)  # for what tests do over the API; the console takes no notice of it
        yield made


class Page(HTMLParser):
    """What a page says: its words, its elements, and of its forms by their address what is filled in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._said: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.forms: dict[str, dict[str, str]] = {}
        self.typed: dict[str, dict[str, str]] = {}
        self._classed: list[tuple[str, str]] = []
        self._form = self._area = ""
        self.feed(text)
        self.words = re.sub(r"\s+", " ", "".join(self._said))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "form":
            self._form = found.get("action") or ""
            self.forms[self._form] = {}
            self.typed[self._form] = {}
        if tag == "textarea":
            self._area = found["name"] or ""
            self.typed[self._form][self._area] = ""
        if tag == "input" and found.get("type") == "hidden":
            self.forms[self._form][found["name"] or ""] = found["value"] or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            # Browsers take away the line break that such a field begins with.
            typed = self.typed[self._form]
            typed[self._area], self._area = typed[self._area].removeprefix("\n"), ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.typed[self._form][self._area] += data
        self._said.append(data)
        if self.tags:
            self._classed.append((self.tags[-1][1].get("class") or "", data.strip()))

    def words_of(self, name: str) -> list[str]:
        """What each element of a class begins with."""
        return [words for classes, words in self._classed if name in classes.split() and words]


async def page(api: Api, path: str, status: int = 200) -> Page:
    response = await api.http.get(path)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(response.text)


async def press(api: Api, at: str, action: str, **fields: str) -> httpx.Response:
    """Fill in a form of a page, and send it."""
    form = (await page(api, at)).forms[action]
    return await api.http.post(action, data={**form, **fields})


def session_cookie(api: Api) -> str:
    """The session as the browser sends it."""
    [(name, value)] = [pair for pair in api.http.cookies.items() if pair[0].startswith("oms_session_")]
    return f"{name}={value}"


def as_a(role: Role, api: Api) -> httpx.AsyncClient:
    """A browser of somebody else, not signed in, on a console that knows the token ``other``."""
    tokens = [Token.of("other", Principal("somebody", role))]
    object.__setattr__(api.dependencies, "access", Access(tokens, b"another key"))
    transport = httpx.ASGITransport(create_app(api.dependencies), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://oms")


# -- signing in -------------------------------------------------------------------------------------------


async def test_whoever_has_not_signed_in_is_asked_to(api: Api) -> None:
    api.http.cookies.clear()
    for path in PAGES:
        response = await api.http.get(path)
        login = await api.http.get(response.headers["Location"])

        assert response.status_code == 303
        assert response.headers["Location"].startswith("/console/login?next=%2Fconsole")
        assert (login.status_code, Page(login.text).forms["/console/login"]["next"]) == (200, path)


async def test_a_session_cannot_be_read_or_sent_from_elsewhere(api: Api) -> None:
    response = await api.http.post("/console/login", data={"token": "admin-token"})
    cookie = response.headers["Set-Cookie"]

    assert "admin-token" not in cookie
    assert {"HttpOnly", "Path=/console", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    behind_tls = await api.http.post("https://oms/console/login", data={"token": "admin-token"})
    assert "Secure" in behind_tls.headers["Set-Cookie"].split("; ")


async def test_another_token_is_not_let_in(api: Api) -> None:
    api.http.cookies.clear()
    for token in ("wrong", "", SCRIPT, "ä"):
        response = await api.http.post("/console/login", data={"token": token})

        assert response.status_code == 401
        assert "not known here" in Page(response.text).words
        assert not response.cookies
        assert SCRIPT not in response.text


async def test_signing_in_leads_to_the_console_alone(api: Api) -> None:
    elsewhere = ("https://evil.example", "//evil.example", "/console/../x\\", "/consoles", "/console/login")
    for wanted in elsewhere:
        response = await api.http.post("/console/login", data={"token": "admin-token", "next": wanted})
        assert response.headers["Location"] == "/console"


async def test_a_form_from_elsewhere_signs_nobody_in(api: Api) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    response = await api.http.post("/console/login", data={"token": "admin-token"}, headers=headers)
    assert response.status_code == 403


async def test_a_session_that_was_tampered_with_is_none(api: Api) -> None:
    cookie, _, good = session_cookie(api).partition("=")
    name, ends, nonce, mac = good.split(".")
    api.http.cookies.clear()
    for bad in (good[:-1], f"{name}.{int(ends) + 1}.{nonce}.{mac}", "", "a.b", "admin-token"):
        response = await api.http.get("/console/sagas", headers={"Cookie": f"{cookie}={bad}"})
        assert response.status_code == 303


async def test_a_session_ends_with_its_token(api: Api) -> None:
    async with as_a(Role.ADMIN, api) as other:
        response = await other.get("/console", headers={"Cookie": session_cookie(api)})
        assert response.status_code == 303


async def test_signing_out_takes_the_session_away(api: Api) -> None:
    unasked = await api.http.post("/console/logout")
    assert "Set-Cookie" not in unasked.headers
    await press(api, "/console/logout", "/console/logout")
    assert (await api.http.get("/console")).status_code == 303


async def test_the_token_of_the_shop_does_not_open_the_console(api: Api) -> None:
    async with as_a(Role.SHOP, api) as other:
        assert (await other.post("/console/login", data={"token": "other"})).status_code == 401


async def test_a_viewer_looks_and_does_not_act(api: Api) -> None:
    order = await api.order()
    at = f"/console/sagas/{order['saga_id']}"
    async with as_a(Role.VIEWER, api) as other:
        await other.post("/console/login", data={"token": "other"})
        seen = Page((await other.get(at)).text)
        csrf = seen.forms["/console/logout"]["csrf"]
        fields = {"csrf": csrf, "reason": "x", "expected_version": "1"}
        acted = await other.post(f"{at}/cancel", data=fields)

    assert "lets you look, not act" in seen.words
    assert f"{at}/cancel" not in seen.forms
    assert acted.status_code == 403


# -- every page -------------------------------------------------------------------------------------------


async def test_every_page_is_guarded_by_its_headers(api: Api) -> None:
    for path in (*PAGES, "/console/nowhere", "/console/login"):
        headers = (await api.http.get(path)).headers

        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


async def test_every_page_is_whole_without_inline_code(api: Api) -> None:
    order, dead = await a_dead_charge(api)
    more = (f"/console/sagas/{order['saga_id']}", f"/console/dead-letters/{dead['dead_letter_id']}")
    for path in (*PAGES, *more):
        shown = await page(api, path)

        assert [tag for tag, attributes in shown.tags if "style" in attributes or tag == "style"] == []
        assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)
        scripts = [attributes for tag, attributes in shown.tags if tag == "script"]
        assert [(each["src"] or "").partition("?")[0] for each in scripts] == ["/console/static/console.js"]
        links = [attributes.get("href") or "" for _, attributes in shown.tags if "href" in attributes]
        assert all(link.startswith(("/", "#", "?")) and not link.startswith("//") for link in links)


async def test_every_link_leads_somewhere(api: Api) -> None:
    await a_dead_charge(api)
    seen: set[str] = set()
    ahead = ["/console"]
    while ahead:
        path = ahead.pop()
        seen.add(path)
        shown = await api.http.get(path)
        assert shown.status_code == 200, path
        if not shown.headers["Content-Type"].startswith("text/html"):
            continue
        links = {attributes["href"] or "" for _, attributes in Page(shown.text).tags if "href" in attributes}
        ahead += [link for link in links if link.startswith("/") and link not in seen and link not in ahead]
    assert len(seen) > 12


async def test_what_is_not_there_is_said(api: Api) -> None:
    for path in (
        "/console/nowhere",
        f"/console/sagas/{uuid4()}",
        "/console/dead-letters/7",
        "/console/find?id=x",
    ):
        assert "Not found" in (await page(api, path, 404)).words
    assert (await api.http.get("/console/static/../session.py")).status_code == 404
    assert (await api.http.get("/console/static/session.py")).status_code == 404


async def test_browsers_keep_a_file_only_under_the_address_of_its_own_version(api: Api) -> None:
    """While replicas are replaced one by one, a page of one asks another for its files."""
    shown = await page(api, "/console")
    addresses = [each.get("src") or each.get("href") or "" for _, each in shown.tags]
    files = [address for address in addresses if address.startswith("/console/static/")]
    assert {file.partition("?")[0].rpartition(".")[2] for file in files} == {"css", "js", "svg"}
    for file in files:
        plain, _, version = file.partition("?v=")
        own = await api.http.get(file)
        assert own.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        for other in (plain, f"{plain}?v=", f"{plain}?v={version[::-1]}", f"{plain}?w={version}"):
            response = await api.http.get(other)
            assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
            assert response.content == own.content


async def test_a_wrong_filter_is_named_and_not_echoed(api: Api) -> None:
    response = await api.http.get("/console/sagas", params={"status": SCRIPT})
    assert response.status_code == 422
    assert "This cannot be used: status" in Page(response.text).words
    assert "alert(1)" not in response.text
    assert (await api.http.get("/console/sagas?cursor=x")).status_code == 400


async def test_a_database_in_trouble_is_a_sentence(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def trouble(*_: Any) -> None:
        raise StorageUnavailable("no")

    monkeypatch.setattr(api.queries.sagas, "page", trouble)
    assert "database cannot be used just now" in (await page(api, "/console/sagas", 503)).words


async def test_what_nobody_foresaw_shows_no_traceback(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bug(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api.queries.sagas, "page", bug)
    assert "secret" not in (await page(api, "/console/sagas", 500)).words


# -- sagas ------------------------------------------------------------------------------------------------


async def test_sagas_are_listed_filtered_and_paged(api: Api) -> None:
    first, second = await api.order(), await api.order()

    shown = await page(api, "/console/sagas?limit=1&order_id=&status=running")
    assert second["saga_id"][-12:] in shown.words
    assert first["saga_id"][-12:] not in shown.words
    [older] = [each["href"] or "" for tag, each in shown.tags if "cursor=" in (each.get("href") or "")]
    assert first["saga_id"][-12:] in (await page(api, f"/console/sagas{older}")).words
    assert "Nothing is stuck" in (await page(api, "/console/sagas?incident=any")).words
    assert "No saga is like this" in (await page(api, "/console/sagas?created_before=2020-01-01T10:00")).words


async def test_no_sagas_at_all_is_said(api: Api) -> None:
    assert "There are no sagas yet" in (await page(api, "/console/sagas")).words


async def test_a_saga_is_found_by_either_id(api: Api) -> None:
    order = await api.order()
    for by in ("saga_id", "order_id"):
        response = await api.http.get("/console/find", params={"id": f" {order[by]} "})
        assert response.headers["Location"] == f"/console/sagas/{order['saga_id']}"


async def test_a_saga_tells_its_story(api: Api) -> None:
    order = await api.order()
    await api.reserved()
    await api.declined()
    await api.released()
    await api.is_now(order, "rejected")
    shown = await page(api, f"/console/sagas/{order['saga_id']}")

    for words in (
        "payment declined: no",
        "undo reserve",
        "InventoryReleasedEvent",
        "25.98 EUR",
        "2 \u00d7 SKU-1",
    ):
        assert words in shown.words
    bars = [each["class"] for tag, each in shown.tags if tag == "rect" and "bar" in (each.get("class") or "")]
    assert bars == ["bar done", "bar turned", "bar undone"]
    boxes = [each["class"] or "" for tag, each in shown.tags if tag == "g"]
    assert sum(box.startswith("box undone") for box in boxes) == 2
    assert "the saga has ended" in shown.words


async def test_a_stuck_saga_shows_where_and_why(api: Api) -> None:
    order, dead = await a_dead_charge(api)
    shown = await page(api, f"/console/sagas/{order['saga_id']}")

    boxes = [each["class"] or "" for tag, each in shown.tags if tag == "g"]
    assert sum(box.startswith("box stuck") for box in boxes) == 1
    assert any(
        each.get("href") == f"/console/dead-letters/{dead['dead_letter_id']}" for _, each in shown.tags
    )
    assert "waits for a person" in shown.words


async def test_markup_in_an_order_is_shown_as_text(api: Api) -> None:
    """The address is masked, so what a page shows of an order's own words comes from those who act on it."""
    address = {"name": SCRIPT, "line1": SCRIPT, "city": SCRIPT, "postal_code": "<b>", "country": "DE"}
    order = await api.order(shipping_address=address)
    await api.reserved()
    _, command = await api.command("payment")
    await api.answer(command, events.PaymentDeclinedEvent, code="card_declined", message=f"{SCRIPT} declined")
    await api.until(UUID(order["saga_id"]), lambda saga: saga.failure is not None)
    at = f"/console/sagas/{order['saga_id']}"
    assert f"{SCRIPT} declined" in (await page(api, at)).words
    assert (await press(api, at, f"{at}/retry", reason=SCRIPT)).status_code == 303
    for path in (at, "/console/audit-log"):
        text = (await api.http.get(path)).text
        assert SCRIPT in Page(text).words
        assert "<script>alert" not in text
        assert "<b>" not in text


async def test_what_the_participants_know_is_shown(api: Api) -> None:
    order = await api.order()
    database = api.deployment.database

    async def in_trouble(_: UUID) -> Any:
        raise StorageUnavailable("the database of payment cannot be used")

    ledgers = {"inventory": LedgerReader("inventory", database).read, "payment": in_trouble}
    object.__setattr__(api.dependencies, "ledgers", ledgers)
    missing = {"/participants/shipping": "OMS_SHIPPING_DATABASE_URL"}
    object.__setattr__(api.dependencies, "missing_participants", missing)
    words = (await page(api, f"/console/sagas/{order['saga_id']}")).words

    assert "It knows nothing of this saga" in words
    assert "the database of payment cannot be used" in words
    assert "OMS_SHIPPING_DATABASE_URL is not set" in words


# -- acting on sagas --------------------------------------------------------------------------------------


async def test_a_saga_is_cancelled_and_it_is_written_down(api: Api) -> None:
    order = await api.order()
    at = f"/console/sagas/{order['saga_id']}"
    response = await press(api, at, f"{at}/cancel", reason="fraud")
    shown = await page(api, response.headers["Location"])

    assert response.status_code == 303
    assert "It is being undone" in shown.words
    audit = await page(api, "/console/audit-log?action=saga.cancel")
    assert "fraud" in audit.words
    assert "running → compensating" in audit.words
    assert "No entry is like this" in (await page(api, "/console/audit-log?actor=nobody")).words


async def test_a_stale_version_is_refused_and_the_reason_is_kept(api: Api) -> None:
    order = await api.order()
    at = f"/console/sagas/{order['saga_id']}"
    form = (await page(api, at)).forms[f"{at}/retry"]
    await press(api, at, f"{at}/cancel", reason="first")
    late = await api.http.post(f"{at}/retry", data={**form, "reason": "my own reason"})

    assert late.status_code == 412
    assert "Somebody was faster" in Page(late.text).words
    assert Page(late.text).typed[f"{at}/retry"]["reason"] == "my own reason"
    assert Page(late.text).forms[f"{at}/retry"]["expected_version"] == "2"


async def test_a_form_that_is_not_ours_does_nothing(api: Api) -> None:
    order = await api.order()
    at = f"/console/sagas/{order['saga_id']}"
    for csrf in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "ä"}):
        fields = {"reason": "x", "expected_version": "1", **csrf}
        response = await api.http.post(f"{at}/cancel", data=fields)
        assert response.status_code == 403

    assert "running" in (await page(api, at)).words
    assert "Nobody has acted" in (await page(api, "/console/audit-log")).words


async def test_an_incomplete_form_says_what_is_missing(api: Api) -> None:
    order = await api.order()
    at = f"/console/sagas/{order['saga_id']}"
    for version, reason, status, words in (
        ("1", "", 422, "reason"),
        ("", "x", 428, "expected_version"),
        ("one", "x", 422, "expected version"),
    ):
        response = await press(api, at, f"{at}/retry", reason=reason, expected_version=version)
        assert response.status_code == status
        assert words in Page(response.text).words


async def test_a_verdict_where_nothing_is_stuck_is_not_allowed(api: Api) -> None:
    order = await api.order()
    at = f"/console/sagas/{order['saga_id']}"
    form = (await page(api, at)).forms[f"{at}/retry"]
    verdict = {**form, "reason": "x", "step": "ship", "verdict": "no_effect", "reference": "", "amount": ""}
    response = await api.http.post(f"{at}/resolve", data=verdict)
    assert response.status_code == 409
    assert "ship is not stuck" in Page(response.text).words
    assert "Allowed is: cancel, retry" in Page(response.text).words


async def test_a_body_that_is_no_form_is_refused(api: Api) -> None:
    order = await api.order()
    response = await api.http.post(f"/console/sagas/{order['saga_id']}/cancel", json={"reason": "x"})
    assert response.status_code == 415


# -- dead letters -----------------------------------------------------------------------------------------


async def test_dead_letters_lead_from_the_group_to_the_message(api: Api) -> None:
    assert "No dead letter is open" in (await page(api, "/console/dead-letters")).words
    _, dead = await a_dead_charge(api)
    groups = await page(api, "/console/dead-letters")
    [group] = [each["href"] or "" for _, each in groups.tags if "messages?queue=" in (each.get("href") or "")]
    messages = await page(api, group)
    one = f"/console/dead-letters/{dead['dead_letter_id']}"
    assert any(each.get("href") == one for _, each in messages.tags)
    detail = await page(api, one)

    assert "gateway_unknown_order" in detail.words
    assert '"payment_method": "***"' in detail.words
    assert "pm_card_visa" not in detail.words
    assert "original-queue" in detail.words


async def test_a_dead_letter_is_tried_dry_and_then_replayed(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    at = f"/console/dead-letters/{dead['dead_letter_id']}"
    form = (await page(api, at)).forms[f"{at}/replay"]
    dry = await api.http.post(f"{at}/dry-run", data=form)
    assert dry.status_code == 200
    assert "Nothing was sent. A replay would do this: ChargePayment is built anew" in Page(dry.text).words
    assert "Nobody has acted" in (await page(api, "/console/audit-log")).words

    done = await press(api, at, f"{at}/replay", reason="gateway is back")
    assert (done.status_code, done.headers["Location"]) == (303, at)
    assert "sent once more" in (await page(api, done.headers["Location"])).words
    stale = await api.http.post(f"{at}/replay", data={**form, "reason": "again"})
    assert stale.status_code == 412
    assert "Somebody was faster" in Page(stale.text).words


async def test_a_discarded_dead_letter_can_be_acted_on_no_more(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    at = f"/console/dead-letters/{dead['dead_letter_id']}"
    assert (await press(api, at, f"{at}/discard", reason="settled by phone")).status_code == 303
    shown = await page(api, at)
    assert "Nothing: it is discarded" in shown.words
    assert not {f"{at}/replay", f"{at}/dry-run", f"{at}/discard"} & set(shown.forms)


# -- overview and health ----------------------------------------------------------------------------------


async def test_the_overview_counts_what_there_is(api: Api) -> None:
    assert "No saga ended" in (await page(api, "/console")).words
    order = await api.order()
    await api.rejected_for_stock()
    await api.is_now(order, "rejected")
    await a_dead_charge(api)
    shown = await page(api, "/console")

    assert "1 running" in shown.words
    assert "1 stuck, with an incident" in shown.words
    assert "1 open dead letters" in shown.words
    assert "1 in 30 minutes" in shown.words
    assert "payment.commands" in shown.words
    assert [each["class"] for tag, each in shown.tags if tag == "rect"] == ["rejected"]


async def test_health_says_what_is_in_trouble(api: Api) -> None:
    api.broker_trouble = "it went away"
    shown = await page(api, "/console/health")
    assert "degraded" in shown.words
    assert "it went away" in shown.words
    assert "order_fulfillment v1" in shown.words


def sent(shown: Page, action: str) -> list[tuple[str, str]]:
    """What a browser sends of a form with filters that nobody has touched."""
    fields, name, within = list[tuple[str, str]](), "", False
    for tag, each in shown.tags:
        if tag == "form":
            within = each.get("action") == action
        elif within and tag == "input":
            fields.append((each["name"] or "", each.get("value") or ""))
        elif within and tag == "select":
            name = each["name"] or ""
        elif within and tag == "option" and "selected" in each:
            fields.append((name, each.get("value") or ""))
    return fields


@pytest.mark.parametrize(
    "query",
    [
        "metadata.channel=web&metadata.channel=app",
        "metadata=channel%3Dweb&metadata=channel%3Dapp",
        "metadata.channel=web&metadata=channel%3Dapp&metadata.shop=1&status=completed&status=running",
        "reference=A-1&reference=A-2&step=ship&step=reserve&step=gone&definition=x"
        "&definition=order_fulfillment&incident=none&incident=any",
    ],
)
async def test_filters_that_are_repeated_mean_either_wherever_a_list_leads(api: Api, query: str) -> None:
    meant = []
    for number, channel in enumerate(("web", "app", "phone", "web"), 1):
        order = await api.order(reference=f"A-{number}", metadata={"channel": channel, "shop": "1"})
        meant.append(order["saga_id"])
    *_, other, another = meant
    meant = meant[:2] if "reference" in query else [each for each in meant if each != other]

    async def listed(address: str) -> set[str]:
        found = await page(api, address)
        links = {(each.get("href") or "").rpartition("/")[2] for _, each in found.tags}
        return links & {*meant, other, another}

    at = f"/console/sagas?{query}"
    assert await listed(at) == set(meant)
    shown = await page(api, at)
    for same in (f"{at}&limit=50", f"/console/sagas?{urlencode(sent(shown, '/console/sagas'))}"):
        assert await listed(same) == set(meant)
    first = await page(api, f"{at}&limit=1")
    [older] = [each["href"] or "" for _, each in first.tags if "cursor=" in (each.get("href") or "")]
    assert len(await listed(at + "&limit=1") | await listed(f"/console/sagas{older}")) == 2

    plan = {"kind": "cancel", "of_step": "", "verdict": ""}
    fields = [*sent(shown, "/console/jobs/new"), *plan.items()]
    new = f"/console/jobs/new?{urlencode([each for each in fields if each[1] and each[0] != 'status'])}"
    assert f"Cancel {len(meant)} sagas" in (await page(api, new)).words
    begun = await press(api, new, "/console/jobs", reason="wrong", rate_per_second="10")
    job = await api.http.get(begun.headers["Location"].replace("/console", "/admin"))
    assert (job.json()["total"], job.json()["filter"].get("metadata", {}).get("channel", [])) == (
        len(meant),
        [] if "reference" in query else ["web", "app"],
    )


async def test_sagas_are_found_by_reference_and_metadata(api: Api) -> None:
    named = await api.order(reference="A-1", metadata={"channel": "web"})
    other = await api.order()

    for query in ("reference=A-1", "metadata=channel%3Dweb", "metadata.channel=web"):
        found = (await api.http.get(f"/console/sagas?{query}")).text
        assert named["saga_id"] in found
        assert other["saga_id"] not in found
    shown = (await api.http.get(f"/console/sagas/{named['saga_id']}")).text
    assert "/console/sagas?reference=A-1" in shown
    assert "channel=web" in shown
