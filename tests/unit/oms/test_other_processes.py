"""What other processes say of their health, and what is made of those that say nothing sensible."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse

from oms.health import health_app
from oms.observing.other_processes import OtherProcesses
from oms.settings import InvalidSettings, load_settings
from orchestrator.http.health import Component, Condition, Readiness
from orchestrator.metrics import Sources
from tests.support.serving import serving
from tests.system.deployment import free_port


async def test_others_tell_of_themselves_and_of_their_breakers() -> None:
    async def fine() -> str | None:
        return None

    async def trouble() -> str | None:
        return "its provider does not answer"

    components = [
        Component("database payment", fine),
        Component("payment", trouble, Condition.DEGRADED, breaker=lambda: "open"),
    ]
    async with serving(health_app(components, Sources())) as url:
        found = (await told({"payment": f"{url}/"}))["payment"]
    assert found.status is Condition.DEGRADED
    assert (found.components["payment"].breaker, found.components["database payment"].breaker) == (
        "open",
        None,
    )


async def test_what_is_not_ready_still_says_what_is_in_trouble() -> None:
    async def trouble() -> str | None:
        return "it does not answer"

    async with serving(health_app([Component("database payment", trouble)], Sources())) as url:
        found = (await told({"payment": url}))["payment"]
    assert found.status is Condition.DOWN
    assert found.components["database payment"].detail == "it does not answer"


async def test_nobody_and_strangers_are_down() -> None:
    stranger = FastAPI()
    stranger.add_api_route("/readyz", lambda: PlainTextResponse("hello"))
    async with serving(stranger) as url:
        found = await told({"stranger": url, "nobody": f"http://127.0.0.1:{free_port()}"})
    assert {name: each.status for name, each in found.items()} == {
        "stranger": Condition.DOWN,
        "nobody": Condition.DOWN,
    }
    assert "none of our processes" in str(found["stranger"].components["process"].detail)


def test_the_setting_names_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_HEALTH_URLS", "payment=http://payment:8080, shipping = http://shipping:8080")
    assert load_settings().health_urls == {
        "payment": "http://payment:8080",
        "shipping": "http://shipping:8080",
    }
    monkeypatch.setenv("OMS_HEALTH_URLS", "payment:8080")
    with pytest.raises(InvalidSettings, match="OMS_HEALTH_URLS"):
        load_settings()


async def told(urls: dict[str, str]) -> Mapping[str, Readiness]:
    others = OtherProcesses(urls)
    try:
        return await others.readiness()
    finally:
        await others.close()
