"""The console about sagas that are no orders: their course, their waits, the forms for signals."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.any_saga import AnySaga, any_saga

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
        "until 20",
        "reserve seat",
        "undo join",
    ):
        assert said in html
    for said in ("Stands at before the dean", "Started by customer", "Waits for approval, a signal"):
        assert said in words(html)
    assert "order" not in words(html).lower()
    assert "0123-4567" not in html
