"""Sagas of any kind over HTTP: started, seen, followed, signalled, cancelled, refused; who may (S23, S24)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, field_validator, model_validator

from contracts.envelope import Direction
from messaging.errors import PermanentFailure
from messaging.retries import RetryPolicy, after_failure
from orchestrator.core.definition import StepPolicy
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.support.any_saga import ADA, ADMIN, YES, AnySaga, any_saga
from tests.support.enrolment import (
    BURSAR,
    CourseRefused,
    Enrolment,
    FeeRefused,
    Home,
    IssueCard,
    JoinCourse,
    PayFee,
    ReserveSeat,
    enrolment,
)
from tests.support.participants import NOW, delivered

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
PROBLEM = "application/problem+json"


@pytest.fixture
async def any_of(migrated_database_url: str) -> AsyncIterator[AnySaga]:
    async with any_saga(migrated_database_url) as made:
        yield made


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == PROBLEM, response.text
    return response.status_code, response.json()["code"]


def pointers(response: httpx.Response) -> list[str]:
    return [each["pointer"] for each in response.json()["errors"]]


# -- starting -----------------------------------------------------------------------------------------------


async def test_a_saga_is_started_and_shown(any_of: AnySaga) -> None:
    any_of.stand_in.holds = {ReserveSeat}
    response = await any_of.http.post("/sagas/enrolment", json=ADA)

    saga = response.json()
    assert (response.status_code, response.headers["Location"]) == (202, f"/sagas/{saga['saga_id']}")
    assert {name: saga[name] for name in ("definition", "definition_version", "status", "label")} == {
        "definition": "enrolment",
        "definition_version": 1,
        "status": "running",
        "label": "applied",
    }
    assert saga["subject_id"] == saga["saga_id"]
    assert [(wait["name"], wait["status"], wait["open"]) for wait in saga["waits"]] == [
        ("approval", "pending", True)
    ]
    assert (await any_of.http.get(response.headers["Location"])).json() == saga


async def test_what_the_model_marks_as_sensitive_is_masked_also_within(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    seen = await any_of.http.get(f"/sagas/{saga['saga_id']}")
    told = await any_of.http.get(f"/admin/sagas/{saga['saga_id']}/messages", headers=ADMIN)

    assert seen.json()["input"]["home"] == saga["input"]["home"] == {"street": "1 Street", "phone": "***"}
    paid = [each for each in told.json()["items"] if each["type"] == "PayFee"]
    assert paid[0]["body"]["phone"] == "***"
    for response in (seen, told):
        assert ADA["home"]["phone"] not in response.text


async def test_no_dead_letter_repeats_what_a_saga_of_ones_own_marks_as_sensitive(any_of: AnySaga) -> None:
    any_of.stand_in.holds = {PayFee}
    phone, deployment = ADA["home"]["phone"], any_of.deployment
    saga = await any_of.once(await any_of.enrol(), lambda found: found["label"] == "seated")
    identity = {"saga_id": saga["saga_id"], "order_id": saga["saga_id"], "step": "pay_fee"}
    asked = PayFee(**identity, direction=Direction.FORWARD, amount=100, phone=phone)
    refused = PermanentFailure("bad_phone", f"nobody answers {phone}")
    died = (delivered(asked, BURSAR), refused, RetryPolicy(), deployment.new_id(), NOW, "a stranger's", ())
    deployment.transport.publisher().publish([after_failure(*died)], lambda _id, _receipt: None)

    found = await any_of.once(saga, lambda found: bool(found["incidents"]))
    [dead] = (await any_of.http.get("/admin/dead-letters", headers=ADMIN)).json()["items"]
    path = f"/admin/dead-letters/{dead['dead_letter_id']}"
    detail = (await any_of.http.get(path, headers=ADMIN)).json()
    assert dead["error_message"] == detail["headers"]["error-message"] == "nobody answers ***"
    assert phone not in f"{found}{dead}{detail}"


async def test_a_saga_goes_its_course_to_its_own_end(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    assert saga["label"] == "before_the_dean"
    response = await any_of.signal(saga, YES)
    ended = await any_of.ended(saga)

    assert response.status_code == 202
    assert (ended["status"], ended["label"]) == ("completed", "enrolled")
    assert [(step["name"], step["item"], step["stage"]) for step in ended["steps"]] == [
        ("reserve_seat", None, 0),
        ("pay_fee", None, 1),
        ("issue_card", None, 1),
        ("approval", None, 2),
        ("join[1]", "logic", 3),
        ("join[2]", "engines", 3),
        ("confirm", None, 4),
    ]
    assert {step["status"] for step in ended["steps"]} == {"succeeded"}


async def test_who_prefers_to_wait_gets_the_end(any_of: AnySaga) -> None:
    any_of.stand_in.answers[PayFee] = (FeeRefused, {"code": "no_money", "message": "empty"})
    response = await any_of.http.post("/sagas/enrolment", json=ADA, headers={"Prefer": "wait=20"})

    assert (response.status_code, response.headers["Preference-Applied"]) == (200, "wait=20")
    assert (response.json()["label"], response.json()["failure"]["code"]) == ("turned_down", "no_money")


async def test_two_at_once_with_one_key_start_one_saga(any_of: AnySaga) -> None:
    headers = {"Idempotency-Key": "key-1"}
    asked = (any_of.http.post("/sagas/enrolment", json=ADA, headers=headers) for _ in range(6))
    responses = await asyncio.gather(*asked)

    assert sorted(response.status_code for response in responses) == [200] * 5 + [202]
    assert len({response.json()["saga_id"] for response in responses}) == 1
    assert sum("Idempotency-Replayed" in response.headers for response in responses) == 5
    assert await any_of.count("sagas") == 1


async def test_the_same_key_with_another_input_is_refused(any_of: AnySaga) -> None:
    headers = {"Idempotency-Key": "key-1"}
    await any_of.enrol(headers)
    response = await any_of.http.post("/sagas/enrolment", json={**ADA, "fee": 7}, headers=headers)

    assert problem(response) == (422, "idempotency_key_reused")


async def test_keys_count_by_definition_and_caller(migrated_database_url: str) -> None:
    """The same key of the customer of that name, of another definition and of another caller."""
    policy, headers = StepPolicy(), {"Idempotency-Key": "key-1"}
    definitions = [order_fulfillment(policy), enrolment(policy), enrolment(policy, name="evening_school")]
    async with any_saga(migrated_database_url, definitions=definitions) as any_of:
        order = {**ORDER, "customer_id": "customer"}
        answers = [
            await any_of.http.post("/orders", json=order, headers=headers),
            await any_of.http.post("/sagas/enrolment", json=ADA, headers=headers),
            await any_of.http.post("/sagas/evening_school", json=ADA, headers=headers),
            await any_of.http.post("/sagas/enrolment", json=ADA, headers={**headers, **ADMIN}),
        ]
        assert [answer.status_code for answer in answers] == [202] * 4
        assert await any_of.count("sagas") == 4


async def test_an_order_is_started_by_either_face_of_the_same(any_of: AnySaga) -> None:
    headers = {"Idempotency-Key": "key-1"}
    saga = (await any_of.http.post("/sagas/order_fulfillment", json=ORDER, headers=headers)).json()
    order = await any_of.http.post("/orders", json=ORDER, headers=headers)
    again = await any_of.http.post("/sagas/order_fulfillment", json=ORDER, headers=headers)

    assert (order.status_code, order.headers["Idempotency-Replayed"]) == (200, "true")
    assert (order.json()["saga_id"], order.json()["order_id"]) == (saga["saga_id"], saga["subject_id"])
    assert again.headers["Location"] == f"/sagas/{saga['saga_id']}"
    assert saga["input"]["payment_method"] == "***"


async def test_lists_of_orders_hold_orders_alone(any_of: AnySaga) -> None:
    saga = await any_of.enrol()
    order = (await any_of.http.post("/orders", json={**ORDER, "customer_id": "customer"})).json()

    for query in ("", "?customer_id=customer", "?status=pending"):
        listed = (await any_of.http.get(f"/orders{query}")).json()["items"]
        assert [each["order_id"] for each in listed] == [order["order_id"]]
    for path in ("", "/events"):
        response = await any_of.http.get(f"/orders/{saga['saga_id']}{path}")
        assert problem(response) == (404, "not_found")
    assert problem(await any_of.http.post(f"/orders/{saga['saga_id']}/cancel")) == (404, "not_found")


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"student": ""}, ["/student"]),
        ({"courses": ["a", 2]}, ["/courses/1"]),
        ({"fee": "1", "home": {"street": 1}}, ["/fee", "/home/street", "/home/phone"]),
        ({"stranger": 1}, ["/stranger"]),
    ],
)
async def test_a_wrong_input_is_told_field_by_field(
    any_of: AnySaga, changes: dict[str, Any], wrong: list[str]
) -> None:
    response = await any_of.http.post("/sagas/enrolment", json={**ADA, **changes})

    assert problem(response) == (422, "invalid")
    assert pointers(response) == wrong
    assert await any_of.count("sagas") == 0


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        ("{", {"Content-Type": "application/json"}, (400, "malformed_json")),
        ("{}", {"Content-Type": "text/plain"}, (415, "unsupported_media_type")),
        ("{}", {"Content-Type": "application/json", "Prefer": "wait=x"}, (400, "malformed_header")),
        ("{}", {"Content-Type": "application/json", "Idempotency-Key": ""}, (400, "malformed_header")),
    ],
)
async def test_what_is_no_submission_is_refused(
    any_of: AnySaga, content: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    response = await any_of.http.post("/sagas/enrolment", content=content, headers=headers)
    assert problem(response) == expected


async def test_a_definition_that_is_not_installed_is_told_with_those_that_are(any_of: AnySaga) -> None:
    response = await any_of.http.post("/sagas/marriage", json={})

    assert problem(response) == (404, "unknown_definition")
    assert "enrolment, order_fulfillment" in response.json()["detail"]


async def test_a_definition_that_fails_on_an_input_stores_nothing(migrated_database_url: str) -> None:
    def fails(given: Enrolment, _: Any) -> dict[str, Any]:
        return {"student": {"Ada": "Ada"}[given.student]}

    policy = StepPolicy()
    course = enrolment(policy).course
    first = type(course[0])(**{**_fields(course[0]), "arguments": fails})
    definition = enrolment(policy, course=(first, *course[1:]))
    async with any_saga(migrated_database_url, definitions=[definition]) as any_of:
        asked = [any_of.http.post("/sagas/enrolment", json={**ADA, "student": who}) for who in ("Ada", "Bob")]
        good, bad = await asyncio.gather(*asked)

        assert good.status_code == 202
        assert problem(bad) == (500, "definition_failed")
        assert "Nothing was stored" in bad.json()["detail"]
        assert (await any_of.count("sagas"), await any_of.count("orders")) == (1, 1)


async def test_a_model_that_fails_itself_is_told_as_the_definitions_fault(migrated_database_url: str) -> None:
    class Fragile(Enrolment):
        @model_validator(mode="after")
        def _fails(self) -> Fragile:
            if self.fee == 13:
                raise ZeroDivisionError
            return self

    definition = enrolment(StepPolicy(), input=Fragile, examples=(Fragile(student="Ada"),))
    async with any_saga(migrated_database_url, definitions=[definition]) as any_of:
        response = await any_of.http.post("/sagas/enrolment", json={**ADA, "fee": 13})
        assert problem(response) == (500, "definition_failed")


async def test_an_input_that_reads_otherwise_each_time_is_refused(migrated_database_url: str) -> None:
    """Else a command that is sent again would be another one (P2)."""

    class Growing(Enrolment):
        @model_validator(mode="before")
        @classmethod
        def _grows(cls, given: Any) -> Any:
            return {**given, "student": f"{given['student']}!"} if isinstance(given, dict) else given

    definition = enrolment(StepPolicy(), input=Growing, examples=(Growing(student="Ada"),))
    async with any_saga(migrated_database_url, definitions=[definition]) as any_of:
        response = await any_of.http.post("/sagas/enrolment", json=ADA)
        assert problem(response) == (500, "definition_failed")
        assert await any_of.count("sagas") == 0


async def test_a_saga_starts_on_its_input_as_it_will_be_read_ever_after(migrated_database_url: str) -> None:
    """Also the first command: one that is sent again must be the same (P2)."""

    class Kept(BaseModel):
        student: str
        fee: int = 100
        courses: tuple[str, ...] = ()
        home: Home | None = None

        @field_validator("student")
        @classmethod
        def _shout(cls, student: str) -> str:
            return student.upper()

    definition = enrolment(StepPolicy(), accepted=Kept)
    async with any_saga(migrated_database_url, definitions=[definition]) as any_of:
        any_of.stand_in.holds = {ReserveSeat}
        saga = await any_of.enrol()
        told = await any_of.http.get(f"/admin/sagas/{saga['saga_id']}/messages", headers=ADMIN)
        assert told.json()["items"][0]["body"]["student"] == saga["input"]["student"] == "ADA"


def _fields(step: Any) -> dict[str, Any]:
    return {name: getattr(step, name) for name in type(step).__dataclass_fields__}


# -- signals ------------------------------------------------------------------------------------------------


async def test_a_signal_is_taken_once_and_a_repeat_is_answered_the_same(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    first, second = await any_of.signal(saga, YES), await any_of.signal(saga, {**YES, "reason": None})
    await any_of.ended(saga)
    third = await any_of.signal(saga, YES)
    detail = await any_of.detail(saga)

    assert [each.status_code for each in (first, second, third)] == [202, 202, 202]
    received = detail["waits"][0]["received"]
    assert received["sender"] == "customer"
    assert received["body"] == {**YES, "places": None, "reason": None, "remarks": {}}
    assert sum(entry["kind"] == "signal_received" for entry in detail["history"]) == 1


async def test_many_at_once_are_taken_once(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    bodies = [YES, {"approved": False}] * 5
    responses = await asyncio.gather(*(any_of.signal(saga, body) for body in bodies))
    detail = await any_of.ended(saga)

    answers = {body["approved"]: set[int]() for body in bodies}
    for body, response in zip(bodies, responses, strict=True):
        answers[body["approved"]].add(response.status_code)
    taken = detail["waits"][0]["received"]["body"]["approved"]
    assert (answers[taken], answers[not taken]) == ({202}, {409})


async def test_another_body_is_refused_with_the_reason(any_of: AnySaga) -> None:
    any_of.stand_in.holds = {JoinCourse}
    saga = await any_of.at_the_dean()
    await any_of.signal(saga, YES)
    response = await any_of.signal(saga, {"approved": False})

    assert problem(response) == (409, "signalled")
    assert response.json()["allowed_actions"] == []


async def test_a_signal_that_comes_early_is_kept(any_of: AnySaga) -> None:
    any_of.stand_in.holds = {PayFee}
    saga = await any_of.enrol()
    await any_of.once(saga, lambda found: found["label"] == "seated")
    response = await any_of.signal(saga, YES)
    waits = response.json()["waits"][0]
    any_of.stand_in.let_go()

    assert (response.status_code, waits["open"], waits["received"]["body"]["level"]) == (202, False, "full")
    assert (await any_of.ended(saga))["label"] == "enrolled"


async def test_a_signal_that_says_no_turns_the_saga_round(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    await any_of.signal(saga, {"approved": False, "reason": "too late in the year"})
    ended = await any_of.ended(saga)

    assert (ended["label"], ended["failure"]) == (
        "turned_down",
        {"code": "not_approved", "message": "too late in the year", "ends_as": "rejected"},
    )
    undone = {step["name"]: step["status"] for step in ended["steps"]}
    assert [undone[name] for name in ("reserve_seat", "pay_fee", "issue_card")] == ["compensated"] * 3


async def test_ended_sagas_are_found_by_their_status_also_when_their_definition_is_gone(
    migrated_database_url: str,
) -> None:
    async with any_saga(migrated_database_url) as any_of:
        taken, declined, going = [await any_of.at_the_dean() for _ in range(3)]
        await any_of.signal(taken, YES)
        await any_of.signal(declined, {"approved": False, "reason": "too late in the year"})
        for saga in (taken, declined):
            await any_of.ended(saga)
    others = [order_fulfillment(StepPolicy())]
    async with any_saga(migrated_database_url, definitions=others) as any_of:

        async def listed(query: str) -> list[str]:
            found = await any_of.http.get(f"/admin/sagas?{query}", headers=ADMIN)
            return [saga["saga_id"] for saga in found.json()["items"]]

        assert await listed("status=completed") == [taken["saga_id"]]
        assert await listed("status=compensated") == [declined["saga_id"]]
        assert await listed("status=compensated&definition=enrolment&limit=1") == [declined["saga_id"]]
        assert await listed("status=running&status=completed") == [going["saga_id"], taken["saga_id"]]


async def test_a_saga_that_is_past_it_refuses_with_the_reason(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    await any_of.http.post(f"/sagas/{saga['saga_id']}/cancel")
    await any_of.ended(saga)
    response = await any_of.signal(saga, YES)

    assert problem(response) == (409, "too_late")
    assert "approval is not waited for any more" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, ["/approved"]),
        ({"approved": True, "stranger": 1}, ["/stranger"]),
        ({"approved": True, "level": "royal"}, ["/level"]),
        ([], [""]),
    ],
)
async def test_a_wrong_signal_is_told_field_by_field(any_of: AnySaga, body: Any, wrong: list[str]) -> None:
    saga = await any_of.enrol()
    response = await any_of.signal(saga, body)

    assert problem(response) == (422, "invalid")
    assert pointers(response) == wrong


async def test_a_signal_of_another_name_is_told_with_those_that_there_are(any_of: AnySaga) -> None:
    saga = await any_of.enrol()
    response = await any_of.signal(saga, YES, "reserve_seat")

    assert problem(response) == (404, "unknown_signal")
    assert "it takes approval" in response.json()["detail"]


async def test_a_signal_that_a_saga_could_not_remember_is_refused(any_of: AnySaga) -> None:
    saga = await any_of.enrol()
    response = await any_of.signal(saga, {**YES, "remarks": {"a": "x" * 30_000}})

    assert problem(response) == (413, "signal_too_large")


async def test_who_sent_a_signal_stands_in_the_audit_log(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    path = f"/sagas/{saga['saga_id']}/signals/approval"
    await any_of.http.post(path, json=YES, headers=ADMIN, params={"reason": "the dean has signed"})
    entries = (await any_of.http.get("/admin/audit-log", headers=ADMIN)).json()["items"]

    found = [(each["action"], each["actor"], each["reason"], each["after"]["signal"]) for each in entries]
    assert found == [("saga.signal", "admin", "the dean has signed", "approval")]


# -- looking, following, cancelling -------------------------------------------------------------------------


async def test_its_events_tell_every_change_once_and_in_order(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    following = asyncio.create_task(any_of.http.get(f"/sagas/{saga['saga_id']}/events"))
    await any_of.signal(saga, YES)
    await any_of.ended(saga)
    stream = (await following).text
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in stream.split("\n\n")[1:-1]
    ]
    events = [block for block in blocks if "data" in block]

    assert [each["event"] for each in events] == [
        "saga.applied",
        "saga.seated",
        "saga.before_the_dean",
        "saga.approved",
        "saga.enrolled",
    ]
    assert [json.loads(each["data"])["ended_at"] is None for each in events] == [True] * 4 + [False]
    late = {"Last-Event-ID": events[-1]["id"]}
    assert (await any_of.http.get(f"/sagas/{saga['saga_id']}/events", headers=late)).status_code == 204


async def test_a_saga_that_waits_can_be_cancelled(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    response = await any_of.http.post(f"/sagas/{saga['saga_id']}/cancel", json={"reason": "moved away"})
    again = await any_of.http.post(f"/sagas/{saga['saga_id']}/cancel")
    ended = await any_of.ended(saga)

    assert (response.status_code, again.status_code) == (202, 202)
    assert (ended["label"], ended["failure"]["message"]) == ("withdrawn", "moved away")


async def test_a_rejected_branch_turns_the_saga_round_with_its_siblings(any_of: AnySaga) -> None:
    any_of.stand_in.answers[JoinCourse] = (CourseRefused, {"code": "full", "message": "no place"})
    saga = await any_of.at_the_dean()
    await any_of.signal(saga, YES)

    assert (await any_of.ended(saga))["failure"]["code"] == "full"


@pytest.mark.parametrize("path", ["", "/events"])
@pytest.mark.parametrize("identity", ["019aa7b2-0000-7000-8000-00000000ffff", "nothing"])
async def test_what_is_not_there_is_not_found(any_of: AnySaga, path: str, identity: str) -> None:
    assert problem(await any_of.http.get(f"/sagas/{identity}{path}")) == (404, "not_found")


# -- who may ------------------------------------------------------------------------------------------------

CLIENT = {"Authorization": "Bearer enrolment-token"}
SHOP = {"Authorization": "Bearer orders-token"}


@pytest.fixture
async def guarded(migrated_database_url: str) -> AsyncIterator[AnySaga]:
    tokens = {"enrolment": "enrolment-token"}
    async with any_saga(migrated_database_url, orders_token="orders-token", saga_tokens=tokens) as made:
        yield made


async def test_a_definition_with_a_token_is_its_clients_and_the_operators(guarded: AnySaga) -> None:
    http = guarded.http
    assert (await http.post("/sagas/enrolment", json=ADA)).status_code == 401
    assert problem(await http.post("/sagas/enrolment", json=ADA, headers=SHOP)) == (403, "forbidden")
    mine = await http.post("/sagas/enrolment", json=ADA, headers=CLIENT)
    assert mine.status_code == 202
    assert (await http.post("/sagas/enrolment", json=ADA, headers=ADMIN)).status_code == 202
    assert (await guarded.detail(mine.json()))["owner"] == "client of enrolment"

    path = mine.headers["Location"]
    for caller, expected in ((CLIENT, 200), (ADMIN, 200), (SHOP, 404), ({}, 401)):
        assert (await http.get(path, headers=caller)).status_code == expected
        signalled = await http.post(f"{path}/signals/approval", json=YES, headers=caller)
        assert signalled.status_code == (202 if expected == 200 else expected)


async def test_a_clients_token_opens_nothing_else(guarded: AnySaga) -> None:
    order = await guarded.http.post("/sagas/order_fulfillment", json=ORDER, headers=SHOP)
    assert order.status_code == 202
    for path in ("/orders", "/admin/sagas", f"/orders/{order.json()['subject_id']}"):
        assert problem(await guarded.http.get(path, headers=CLIENT)) == (403, "forbidden")
    seen = await guarded.http.get(f"/sagas/{order.json()['saga_id']}", headers=CLIENT)
    assert problem(seen) == (404, "not_found")


async def test_without_a_token_of_its_own_it_is_open_where_orders_are(migrated_database_url: str) -> None:
    async with any_saga(migrated_database_url, orders_token="orders-token") as any_of:
        assert (await any_of.http.post("/sagas/enrolment", json=ADA)).status_code == 401
        assert (await any_of.http.post("/sagas/enrolment", json=ADA, headers=ADMIN)).status_code == 202


async def test_a_wrong_token_is_no_token_also_where_none_is_needed(any_of: AnySaga) -> None:
    wrong = {"Authorization": "Bearer nonsense"}
    assert (await any_of.http.post("/sagas/enrolment", json=ADA, headers=wrong)).status_code == 401


# -- its description ----------------------------------------------------------------------------------------


async def test_every_installed_definition_has_a_typed_route(any_of: AnySaga) -> None:
    document = (await any_of.http.get("/openapi.json")).json()

    schemas, paths = document["components"]["schemas"], document["paths"]
    for name, model in (("enrolment", "Enrolment"), ("order_fulfillment", "Order")):
        body = paths[f"/sagas/{name}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body == {"$ref": f"#/components/schemas/{name}.{model}"}
    assert schemas["enrolment.Enrolment"]["properties"]["student"]["maxLength"] == 100
    signal = paths["/sagas/{saga_id}/signals/{name}"]["post"]["requestBody"]
    assert signal["content"]["application/json"]["schema"]["anyOf"] == [
        {"$ref": "#/components/schemas/enrolment.Approval"}
    ]
    referred = set(_references(document))
    assert {each for each in referred if each.rpartition("/")[2] not in schemas} == set()


async def test_two_definitions_may_call_their_models_the_same(migrated_database_url: str) -> None:
    class Enrolment(BaseModel):
        other: int

    policy = StepPolicy()
    step = enrolment(policy).course[0]
    second = enrolment(
        policy,
        name="second",
        input=Enrolment,
        examples=(Enrolment(other=1),),
        announces={},
        course=(type(step)(**{**_fields(step), "arguments": lambda it, _: {"student": "x"}}),),
    )
    async with any_saga(migrated_database_url, definitions=[enrolment(policy), second]) as any_of:
        schemas = (await any_of.http.get("/openapi.json")).json()["components"]["schemas"]
        assert list(schemas["second.Enrolment"]["properties"]) == ["other"]
        assert "student" in schemas["enrolment.Enrolment"]["properties"]
        assert (await any_of.http.post("/sagas/second", json={"other": 2})).status_code == 202


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for each in node.values() for found in _references(each)]
    return [found for each in node for found in _references(each)] if isinstance(node, list) else []


# -- operators ----------------------------------------------------------------------------------------------


async def test_an_operator_retries_one_of_several_pieces(any_of: AnySaga) -> None:
    any_of.stand_in.holds = {PayFee, IssueCard}
    saga = await any_of.once(await any_of.enrol(), lambda found: len(found["awaits"]) == 2)
    path = f"/admin/sagas/{saga['saga_id']}/actions/retry"
    body = {"reason": "again", "step": "issue_card", "expected_version": saga["version"]}
    response = await any_of.http.post(path, json=body, headers=ADMIN)

    assert response.status_code == 200, response.text
    sent = {step["name"]: step["attempts"] for step in response.json()["steps"]}
    assert (sent["pay_fee"], sent["issue_card"]) == (1, 2)
    other = {**body, "step": "confirm", "expected_version": response.json()["version"]}
    assert problem(await any_of.http.post(path, json=other, headers=ADMIN)) == (409, "not_allowed")


async def test_explain_tells_all_that_is_awaited(any_of: AnySaga) -> None:
    any_of.stand_in.holds = {PayFee, IssueCard}
    saga = await any_of.once(await any_of.enrol(), lambda found: len(found["awaits"]) == 2)
    told = (await any_of.http.get(f"/admin/sagas/{saga['saga_id']}/explain", headers=ADMIN)).json()

    assert "the answer of bursar to PayFee" in told["summary"]
    assert "the answer of campus to IssueCard" in told["summary"]
    assert "A signal that comes early would be kept: approval." in told["summary"]
    assert [told["queue"]["name"], told["more_queues"][0]["name"]] == ["bursar.commands", "campus.commands"]
    assert "None" not in told["summary"]


async def test_explain_tells_of_a_wait_and_its_time(any_of: AnySaga) -> None:
    saga = await any_of.at_the_dean()
    told = (await any_of.http.get(f"/admin/sagas/{saga['saga_id']}/explain", headers=ADMIN)).json()

    assert "It waits for the signal approval since" in told["summary"]
    assert "and then it turns round." in told["summary"]
    assert told["allowed_actions"] == ["cancel", "signal"]
    assert told["waits"][0]["signal_schema"]["properties"]["level"]["enum"] == ["basic", "full"]
    assert "None" not in told["summary"]


async def test_sagas_are_listed_by_definition_and_by_the_step_of_a_branch(any_of: AnySaga) -> None:
    any_of.stand_in.holds = {JoinCourse}
    saga = await any_of.at_the_dean()
    await any_of.http.post("/orders", json=ORDER)
    await any_of.signal(saga, YES)
    await any_of.once(saga, lambda found: len(found["awaits"]) == 2)
    for query, expected in (
        ({"definition": "enrolment"}, ["enrolment"]),
        ({"definition": "order_fulfillment"}, ["order_fulfillment"]),
        ({"step": "join"}, ["enrolment"]),
        ({"definition": "nothing"}, []),
    ):
        listed = await any_of.http.get("/admin/sagas", params=query, headers=ADMIN)
        assert [each["definition"] for each in listed.json()["items"]] == expected


async def test_sagas_are_listed_by_each_of_the_pieces_that_they_await_at_once(any_of: AnySaga) -> None:
    any_of.stand_in.holds = {JoinCourse}
    at_the_dean = await any_of.at_the_dean(courses=("algebra", "botany"))
    await any_of.signal(at_the_dean, YES)
    saga = await any_of.once(at_the_dean, lambda found: len(found["awaits"]) == 2)
    for step in (*saga["awaits"], "join"):
        listed = await any_of.http.get("/admin/sagas", params={"step": step}, headers=ADMIN)
        assert [each["saga_id"] for each in listed.json()["items"]] == [saga["saga_id"]]
    listed = await any_of.http.get("/admin/sagas", params={"step": "nowhere"}, headers=ADMIN)
    assert listed.json()["items"] == []
