"""The console about sagas that are no orders: their course, their waits, the forms for signals."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.any_saga import ADMIN, YES, AnySaga, any_saga
from tests.support.enrolment import JoinCourse, PayFee

pytestmark = pytest.mark.postgresql

ORDER = {
    "customer_id": "c-1",
    "currency": "EUR",
    "lines": [{"sku": "SKU-1", "quantity": 2, "unit_price": 1299}],
    "payment_method": "pm_card_visa",
    "shipping_address": {
        "name": "A. Person",
        "line1": "1 Street",
        "city": "Town",
        "postal_code": "12345",
        "country": "DE",
    },
}


@pytest.fixture
async def console(migrated_database_url: str) -> AsyncIterator[AnySaga]:
    """Somebody has signed in as the admin."""
    async with any_saga(migrated_database_url) as made:
        response = await made.http.post("/console/login", data={"token": "admin-token"})
        assert response.status_code == 303
        yield made


async def page(console: AnySaga, saga: dict[str, Any], status: int = 200) -> str:
    response = await console.http.get(f"/console/sagas/{saga['saga_id']}")
    assert response.status_code == status, response.text
    return response.text


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def sent(
    console: AnySaga, saga: dict[str, Any], name: str = "approval", **fields: str
) -> httpx.Response:
    csrf = re.findall(r'name="csrf" value="([^"]+)"', await page(console, saga))[0]
    return await console.http.post(
        f"/console/sagas/{saga['saga_id']}/signals/{name}", data={"csrf": csrf, **fields}
    )


async def test_its_page_draws_the_course_and_never_speaks_of_orders(console: AnySaga) -> None:
    saga = await console.at_the_dean()
    html = await page(console, saga)

    for said in (
        "side by side",
        "for each of places",
        "one an item",
        " UTC",
        "reserve seat",
        "undo join",
    ):
        assert said in html
    for said in ("Stands at before the dean", "Started by customer", "Waits for approval, a signal"):
        assert said in words(html)
    spoken = words(html).lower().replace("order_id", "")  # what messages call the subject on the wire
    assert "order" not in spoken
    assert "0123-4567" not in html


async def test_an_order_is_still_called_an_order(console: AnySaga) -> None:
    order = (await console.http.post("/orders", json=ORDER)).json()
    said = words(await page(console, order))

    assert f"Order {order['order_id']} Order status pending Customer c-1 Total 25.98 EUR" in said
    assert "Undo the order." in said


async def test_the_list_shows_every_kind_and_can_be_narrowed_to_one(console: AnySaga) -> None:
    saga = await console.at_the_dean()
    await console.http.post("/orders", json=ORDER)
    every = words((await console.http.get("/console/sagas")).text)
    one = (await console.http.get("/console/sagas?definition=enrolment")).text

    assert "enrolment" in every
    assert "order fulfillment" in every
    assert re.findall(r'href="/console/sagas/([0-9a-f-]{36})"', one) == [saga["saga_id"]]
    assert "before the dean" in words(one)


async def test_a_signal_is_given_by_a_form_made_from_its_schema(console: AnySaga) -> None:
    saga = await console.at_the_dean()
    html = await page(console, saga)
    for control in (
        r'<select name="field.approved" required>',
        r'<option value="&#34;full&#34;" >full</option>',
        r'<input name="field.places" type="number" step="1"',
        r'<textarea name="field.remarks"[^>]*class="json"',
    ):
        assert re.search(control, html), control

    answer = await sent(
        console,
        saga,
        reason="the dean has signed",
        **{
            "field.approved": "true",
            "field.level": '"full"',
            "field.places": "2",
            "field.reason": "",
            "field.remarks": '{"room": "12"}',
        },
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console/sagas/{saga['saga_id']}")
    received = (await console.ended(saga))["waits"][0]["received"]
    assert received["sender"] == "admin"
    assert received["body"] == {
        "approved": True,
        "level": "full",
        "places": 2,
        "reason": None,
        "remarks": {"room": "12"},
    }
    assert "signal" in words(await page(console, saga))


async def test_a_form_that_is_sent_twice_is_answered_the_same_and_another_one_is_told_why(
    console: AnySaga,
) -> None:
    console.stand_in.holds = {JoinCourse}
    saga = await console.at_the_dean()
    for said in ("The signal was taken.", "The same signal was taken before"):
        answer = await sent(console, saga, reason="signed", **{"field.approved": "true"})
        assert answer.status_code == 303
        assert said in words(await page(console, saga))
    other = await sent(console, saga, reason="not at all", **{"field.approved": "false"})

    assert other.status_code == 409
    assert "approval was told otherwise" in words(other.text)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"field.level": '"full"'}, "Approved: Field required"),
        ({"field.approved": "true", "field.places": "1.5"}, "Places: Input should be a valid integer"),
        ({"field.approved": "true", "field.remarks": "{"}, "it is no JSON"),
        (
            {"field.approved": "true", "field.remarks": '{"a": 1}'},
            "Remarks a: Input should be a valid string",
        ),
    ],
)
async def test_what_is_wrong_in_a_form_is_told_and_what_was_filled_in_is_kept(
    console: AnySaga, fields: dict[str, str], said: str
) -> None:
    saga = await console.at_the_dean()
    answer = await sent(console, saga, reason="signed by <all>", **fields)

    assert answer.status_code == 422
    assert said in words(answer.text)
    assert "signed by &lt;all&gt;</textarea>" in answer.text
    assert (await console.detail(saga))["waits"][0]["received"] is None


async def test_a_signal_needs_a_reason_and_the_right_to_act(console: AnySaga) -> None:
    saga = await console.at_the_dean()
    without = await sent(console, saga, **{"field.approved": "true"})
    foreign = await console.http.post(
        f"/console/sagas/{saga['saga_id']}/signals/approval", data={"reason": "x", "field.approved": "true"}
    )

    assert (without.status_code, foreign.status_code) == (422, 403)
    assert (await console.detail(saga))["waits"][0]["received"] is None


async def test_a_wait_of_no_such_name_is_told_so(console: AnySaga) -> None:
    saga = await console.at_the_dean()
    answer = await sent(console, saga, "nothing", reason="x")
    assert answer.status_code == 404
    assert "it takes approval" in words(answer.text)


async def test_of_several_awaited_pieces_each_is_told_and_one_can_be_retried(console: AnySaga) -> None:
    console.stand_in.holds = {PayFee, JoinCourse}
    saga = await console.at_the_dean_early(YES)
    html = await page(console, saga)

    assert "PayFee from bursar" in words(html)
    assert "a signal is kept until it does" not in words(html)
    console.stand_in.let_go()
    console.stand_in.holds = {JoinCourse}
    found = await console.once(saga, lambda found: len(found["awaits"]) == 2)
    html = await page(console, saga)
    assert re.findall(r'<option value="(join\[\d\])"', html) == ["join[1]", "join[2]"]
    csrf = re.findall(r'name="csrf" value="([^"]+)"', html)[0]
    answer = await console.http.post(
        f"/console/sagas/{saga['saga_id']}/retry",
        data={"csrf": csrf, "expected_version": found["version"], "step": "join[2]", "reason": "again"},
    )
    assert answer.status_code == 303
    sent_now = {step["name"]: step["attempts"] for step in (await console.detail(saga))["steps"]}
    assert (sent_now["join[1]"], sent_now["join[2]"]) == (1, 2)


async def test_the_timeline_has_a_row_for_each_piece_that_was_awaited(console: AnySaga) -> None:
    saga = await console.at_the_dean()
    await console.signal(saga, YES)
    await console.ended(saga)
    html = await page(console, saga)

    lanes = re.findall(r'<text class="lane"[^>]*>([^<]+)<', html)
    assert lanes == ["reserve_seat", "pay_fee", "issue_card", "approval", "join[1]", "join[2]", "confirm"]
    assert html.count('class="bar done"') == len(lanes)


async def test_a_hundred_branches_are_drawn_by_those_that_matter(console: AnySaga) -> None:
    console.stand_in.holds = {JoinCourse}
    saga = await console.at_the_dean(courses=[f"course {number}" for number in range(100)])
    await console.signal(saga, YES)
    await console.once(saga, lambda found: len(found["awaits"]) == 100)
    html = await page(console, saga)

    assert "and 95 more" in html
    assert "94 more are awaited beside these" in html
    assert "further pieces of work are not drawn" in html


async def test_the_overview_counts_ends_by_what_they_are_not_by_what_they_are_called(
    console: AnySaga,
) -> None:
    saga = await console.at_the_dean()
    await console.signal(saga, YES)
    gone = await console.at_the_dean()
    await console.http.post(f"/sagas/{gone['saga_id']}/cancel")
    for each in (saga, gone):
        await console.ended(each)
    html = (await console.http.get("/console")).text

    assert re.search(r'<rect class="completed"', html)
    assert re.search(r'<rect class="cancelled"', html)


async def test_the_console_of_an_unknown_version_shows_what_it_can(migrated_database_url: str) -> None:
    """As after an upgrade that is not deployed here yet (S13)."""
    async with any_saga(migrated_database_url) as console:
        saga = await console.at_the_dean()
    definitions = [each for each in console.deployment.registry if each.name != "enrolment"]
    async with any_saga(migrated_database_url, definitions=definitions) as later:
        await later.http.post("/console/login", data={"token": "admin-token"})
        said = words(await page(later, saga))
        assert "This process does not know enrolment version 1" in said
        public = await later.http.get(f"/sagas/{saga['saga_id']}", headers=ADMIN)
        assert (public.status_code, public.json()["label"]) == (200, "before_the_dean")
        signal = await later.http.post(
            f"/sagas/{saga['saga_id']}/signals/approval", json=dict(YES), headers=ADMIN
        )
        assert (signal.status_code, signal.json()["code"]) == (503, "unknown_version")
