"""An order saga that the engine has never heard of: the wheel, an example beside it, `oms run`, and HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.servers import PROJECT
from tests.support.wheels import Environment, build_wheel, new_environment
from tests.system.deployment import ServiceProcess, an_order, free_port

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(600)]

EXAMPLE: Final = PROJECT / "examples/gift_order"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = new_environment(tmp_path_factory.mktemp("environment"))
    made.install(build_wheel(tmp_path_factory.mktemp("wheel")))
    made.install(EXAMPLE)
    return made


@pytest.fixture
async def client(environment: Environment, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An operator of what runs in a folder of its own, from the wheel alone."""
    port = free_port()
    process = ServiceProcess("run", ["run", "--port", str(port)], {"OMS_LOG_FORMAT": "json"}, port, tmp_path)
    await process.start(("env", "-C", str(tmp_path), str(environment.folder / "bin/oms")))
    await process.ready()
    token = (tmp_path / ".oms/admin-token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as made:
        await made.post("/console/login", data={"token": token})
        yield made
    assert await process.end() == 0


async def ended(client: httpx.AsyncClient, definition: str, **changes: Any) -> dict[str, Any]:
    """A saga that was started over HTTP, at its end."""
    started = await client.post(f"/sagas/{definition}", json={**an_order(), **changes})
    assert started.status_code == 202, started.text
    found: dict[str, Any] = started.json()
    while found["ended_at"] is None:
        waited = await client.get(f"/sagas/{found['saga_id']}", headers={"Prefer": "wait=10"})
        found = waited.json()
    return found


async def pieces_of(client: httpx.AsyncClient, saga: dict[str, Any]) -> list[tuple[str, str]]:
    detail = (await client.get(f"/admin/sagas/{saga['saga_id']}")).json()
    return [(step["name"], step["status"]) for step in detail["steps"]]


async def test_it_goes_the_course_of_any_order_and_is_shown_like_one(
    client: httpx.AsyncClient, environment: Environment, tmp_path: Path
) -> None:
    assert (await client.put("/inventory/SKU-1", json={"on_hand": 10})).status_code == 200
    given = await ended(client, "gift_order", note="Many happy returns")
    taken_back = await ended(client, "gift_order", note="Sorry", payment_method="pm_card_declined")
    order = await ended(client, "order_fulfillment")

    assert [each["label"] for each in (given, taken_back, order)] == ["given", "not_given", "completed"]
    assert await pieces_of(client, given) == await pieces_of(client, order)
    assert await pieces_of(client, taken_back) == [
        ("reserve", "compensated"),
        ("charge", "rejected"),
        ("ship", "pending"),
        ("commit", "pending"),
    ]
    stock = (await client.get("/inventory/SKU-1")).json()
    assert (stock["on_hand"], stock["reserved"]) == (8, 0)

    for saga, words in ((given, "given"), (taken_back, "not given")):
        page = await client.get(f"/console/sagas/{saga['saga_id']}")
        assert (page.status_code, words in page.text, "gift_order" in page.text) == (200, True, True)
        shown = (await client.get(f"/orders/{saga['subject_id']}")).json()
        assert (shown["status"], shown["total"]) == (saga["label"], 1299)
    listed = (await client.get("/orders")).json()["items"]
    assert {each["status"] for each in listed} == {"given", "not_given", "completed"}
    routes = (await client.get("/openapi.json")).json()["paths"]
    assert "/sagas/gift_order" in routes
    audited = environment.run("oms", "audit", "--json", within=tmp_path)
    assert audited.returncode == 0, audited.stdout + audited.stderr


def test_a_hundred_worlds_of_it_break_no_rule(environment: Environment, tmp_path: Path) -> None:
    worlds = ("--saga", "gift_order", "--seeds", "100", "--seed", "1", "--jobs", "2", "--json")
    done = environment.run("oms", "simulate", *worlds, within=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert json.loads(done.stdout)["violations"] == {}
