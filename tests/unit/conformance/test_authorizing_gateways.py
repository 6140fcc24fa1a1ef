"""Gateways that authorize: a right one passes, each wrong one is caught, one without is not asked (S27)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import pytest

from oms.conformance.providers import gateway_report
from oms.conformance.verdict import Verdict
from participants.payment.gateway import (
    EXPIRED,
    Authorized,
    Charged,
    Declined,
    FoundAuthorization,
    FoundRelease,
    Released,
)
from participants.provider_terms import ProviderMisuse, Voided, VoidNotOffered
from tests.unit.conformance.house import KINDS, Entry, House, HouseGateway
from tests.unit.conformance.test_providers_wrong_on_purpose import CHARGES, played, rules_of


class Wrong(Enum):
    """What an authorizing gateway does that it must not do."""

    CHARGES_AT_ONCE = auto()
    CAPTURES_TOO_MUCH = auto()
    CAPTURES_WHAT_WAS_GIVEN_UP = auto()
    CAPTURES_TWICE = auto()
    RELEASES_ARE_NOT_KEPT = auto()
    CAPTURES_ARE_NO_CHARGES = auto()


class AuthorizingHouse(HouseGateway):
    """A `HouseGateway` that sets money aside, too; what is captured of it stands in ``Entry.refunded``."""

    def __init__(self, wrong: Wrong | None = None) -> None:
        super().__init__()
        self.aside = House(None, Authorized, lambda: Declined("no_cover", ""))
        self._wrong = wrong
        self._released: dict[str, FoundRelease] = {}

    async def authorize(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Authorized | Declined:
        request = (amount, currency, payment_method)
        answer = await self.aside.do(key, order_id, request, KINDS.get(payment_method, "good"))
        if self._wrong is Wrong.CHARGES_AT_ONCE and isinstance(answer, Authorized):
            await self.house.do(key, order_id, request, "good")
        return answer  # type: ignore[no-any-return]

    async def find_authorization(self, key: str) -> Authorized | Declined | Voided | None:
        return await self.aside.find(key)  # type: ignore[no-any-return]

    async def authorizations_of(self, order_id: str) -> tuple[FoundAuthorization, ...]:
        return tuple(
            FoundAuthorization(each.key, each.answer.reference, each.request[0], each.request[1])
            for each in self.aside.of_order(order_id)
        )

    async def close_authorization(self, key: str) -> Voided | Authorized | Declined | VoidNotOffered:
        return await self.aside.void(key)  # type: ignore[no-any-return]

    async def release(self, key: str, reference: str) -> Released:
        self._of(reference)
        kept = self._wrong is not Wrong.RELEASES_ARE_NOT_KEPT
        found = self._released.get(key) or FoundRelease(key, f"rl-{len(self._released)}", reference)
        if kept:
            self._released[key] = found
        return Released(found.reference)

    async def find_release(self, key: str) -> Released | None:
        found = self._released.get(key)
        return Released(found.reference) if found else None

    async def releases_of(self, order_id: str) -> tuple[FoundRelease, ...]:
        references = {each.answer.reference for each in self.aside.of_order(order_id)}
        return tuple(each for each in self._released.values() if each.authorization in references)

    async def capture(self, key: str, reference: str, amount: int) -> Charged | Declined:
        entry = self._of(reference)
        known = self.house.entries.get(key)
        if known is not None and self._wrong is not Wrong.CAPTURES_TWICE:
            return known.answer  # type: ignore[no-any-return]
        given_up = reference in {each.authorization for each in self._released.values()}
        if given_up and self._wrong is not Wrong.CAPTURES_WHAT_WAS_GIVEN_UP:
            return Declined("given_up", "")
        allowed = (Wrong.CAPTURES_TOO_MUCH, Wrong.CAPTURES_TWICE)
        if entry.refunded + amount > entry.request[0] and self._wrong not in allowed:
            raise ProviderMisuse("422")
        entry.refunded += amount
        if self._wrong is Wrong.CAPTURES_ARE_NO_CHARGES:
            return Charged(f"captured/{key}")
        if known is not None:
            key = f"{key}-again"
        return await self.house.do(key, entry.order_id, (amount, entry.request[1]), "good")  # type: ignore[no-any-return]

    def _of(self, reference: str) -> Entry:
        found = next((each for each in self.aside.effects if each.answer.reference == reference), None)
        if found is None:
            raise ProviderMisuse("422")
        return found


def test_a_right_gateway_passes_everything() -> None:
    report = played(gateway_report("house", AuthorizingHouse(), CHARGES))
    assert report.findings == []
    assert {result.verdict for result in report.results} == {Verdict.PASSED}
    assert len(report.results) == 32


@pytest.mark.parametrize("wrong", Wrong, ids=lambda wrong: wrong.name.lower())
def test_a_wrong_gateway_is_caught(wrong: Wrong) -> None:
    report = played(gateway_report("house", AuthorizingHouse(wrong), CHARGES))
    assert rules_of(report) & {"P6", "S27"}, report.as_json()


class WithoutRoutes(AuthorizingHouse):
    """One over HTTP whose server does not know authorizations."""

    async def find_authorization(self, key: str) -> Authorized | Declined | Voided | None:
        raise ProviderMisuse("GET /authorizations: 404")


@pytest.mark.parametrize("made", [HouseGateway, WithoutRoutes])
def test_what_a_gateway_does_not_offer_is_not_tried(made: Callable[[], HouseGateway]) -> None:
    report = played(gateway_report("house", made(), CHARGES))
    assert report.ok
    assert len(report.results) == 17


class Renewing(Enum):
    """What a gateway that sets aside anew does that it must not do."""

    AGAIN_UNDER_THE_SAME_KEY = auto()
    TWICE_UNDER_TWO_KEYS = auto()
    ANOTHER_CODE = auto()
    NEVER_LISTED = auto()


class RenewingHouse(AuthorizingHouse):
    """One whose authorizations expire where they are paid by ``pm_renews``."""

    def __init__(self, fault: Renewing | None = None) -> None:
        super().__init__()
        self._fault = fault
        self._renewals: dict[str, Authorized | Declined] = {}
        self._renewed: set[str] = set()

    async def capture(self, key: str, reference: str, amount: int) -> Charged | Declined:
        entry = self._of(reference)
        if entry.request[2:] == ("pm_renews",):
            return Declined("too_old" if self._fault is Renewing.ANOTHER_CODE else EXPIRED, "")
        return await super().capture(key, reference, amount)

    async def renew(self, key: str, reference: str, amount: int) -> Authorized | Declined:
        if key in self._renewals and self._fault is not Renewing.AGAIN_UNDER_THE_SAME_KEY:
            return self._renewals[key]
        twice = reference in self._renewed and key not in self._renewals
        if twice and self._fault is not Renewing.TWICE_UNDER_TWO_KEYS:
            return self._renewals.setdefault(key, Declined("renewed", ""))
        self._renewed.add(reference)
        entry = self._of(reference)
        forgets = self._fault in (Renewing.NEVER_LISTED, Renewing.AGAIN_UNDER_THE_SAME_KEY)
        entered_as = f"{key}/{len(self._renewals)}" if forgets else key
        answer = await self.aside.do(
            entered_as, entry.order_id, (amount, entry.request[1], "pm_good"), "good"
        )
        self._renewals[key] = answer
        return answer  # type: ignore[no-any-return]


RENEWED = CHARGES.model_copy(update={"renewing": "pm_renews"})


def test_a_right_gateway_that_sets_aside_anew_passes_everything() -> None:
    report = played(gateway_report("house", RenewingHouse(), RENEWED))
    assert report.findings == []
    assert {result.verdict for result in report.results} == {Verdict.PASSED}
    assert len(report.results) == 33


@pytest.mark.parametrize("fault", Renewing, ids=lambda fault: fault.name.lower())
def test_one_that_sets_aside_anew_in_a_wrong_way_is_caught(fault: Renewing) -> None:
    report = played(gateway_report("house", RenewingHouse(fault), RENEWED))
    assert rules_of(report) & {"P6", "S27"}, report.as_json()


def test_without_an_example_setting_aside_anew_is_not_tried() -> None:
    report = played(gateway_report("house", RenewingHouse(), CHARGES))
    assert report.ok
    assert [result.verdict for result in report.results].count(Verdict.NOT_TRIED) == 1
