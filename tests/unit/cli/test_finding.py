"""Lists of orders and sagas by reference and metadata."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import FakeApi, json_answer, page


@pytest.mark.parametrize(("what", "path"), [("orders", "/orders"), ("sagas", "/admin/sagas")])
def test_a_list_is_asked_for_by_reference_and_metadata(oms: Oms, api: FakeApi, what: str, path: str) -> None:
    api.on("GET", path, json_answer(page({"reference": "A-1", "metadata": {"channel": "web"}})))
    ran = oms(what, "list", "--reference", "A-1", "--metadata", "channel=web", "--metadata", "shop=a=b")

    assert ran.code == 0, ran.err
    asked = api.requests[0].url.params
    assert asked.get_list("reference") == ["A-1"]
    assert (asked["metadata.channel"], asked["metadata.shop"]) == ("web", "a=b")
    assert "A-1" in ran.out


@pytest.mark.parametrize("wrong", ["channel", "=web", "channel="])
def test_metadata_that_is_no_pair_is_named(oms: Oms, api: FakeApi, wrong: str) -> None:
    ran = oms("orders", "list", "--metadata", wrong)

    assert ran.code == 2
    assert "--metadata" in ran.err
    assert "KEY=VALUE" in ran.err
    assert api.requests == []
