"""The orders that docs/wire.md shows go over the wire just so."""

from __future__ import annotations

import json

import pytest

from tests.system.deployment import Deployment
from tests.system.exchange import RECORD, recorded

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]


async def test_whole_orders_stand_on_the_wire_as_the_page_shows_them(deployment: Deployment) -> None:
    """Run `python -m tests.system.exchange`, then `make documents`, when this fails."""
    async with deployment.client() as client:
        (await client.put("/inventory/SKU-1", json={"on_hand": 10})).raise_for_status()
    assert await recorded(deployment) == json.loads(RECORD.read_text(encoding="utf-8"))
